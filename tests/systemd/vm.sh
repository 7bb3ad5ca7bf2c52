#!/bin/bash
# Limits, out of memory, deaths and upgrades of the keeper where cgroups of version 2 have all controllers: in a virtual
# machine, booted by systemd, without network. Optional: for hosts whose own hierarchy has none.
#
#     tests/systemd/vm.sh [FOLDER]     prepares the machine in FOLDER once (1 GiB, some minutes), then runs vm_inside.sh
#
# Needs root, a Debian whose apt works, debootstrap, qemu-system-x86_64, a static busybox, kmod, e2fsprogs, and as PYTHON
# one of the version that the machine has (3.11).
set -euo pipefail
shopt -s inherit_errexit

repository=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-/var/tmp/pyflow-vm}
python=${PYTHON:-python3}
release=bookworm
PATH=$PATH:/usr/sbin:/sbin

for program in debootstrap qemu-system-x86_64 busybox depmod mkfs.ext4; do
    command -v "$program" > /dev/null || { echo "vm.sh: $program is missing: apt-get install it" >&2; exit 2; }
done
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "vm.sh: PYTHON must be 3.11" >&2; exit 2; }
mkdir -p "$folder"
cd "$folder"

build_root() {  # the machine's own disk: read-only, the same for every run
    local mirror kernel
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')
    rm -rf root kernel && mkdir kernel
    (cd kernel && apt-get -q download "$kernel" && dpkg-deb -x "$kernel"_*.deb . && rm -- *.deb)
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,python3,procps,kmod "$release" root "$mirror"
    cp -r kernel/lib/modules root/lib/
    depmod -b root "${kernel#linux-image-}"
    mkdir -p root/payload
    ln -sfn /dev/null root/etc/systemd/system/timers.target
    ln -sfn /dev/null root/etc/systemd/system/getty.target
    printf '%s\n' '[Unit]' 'After=basic.target dbus.service' 'Wants=dbus.service' 'SuccessAction=poweroff' \
        'FailureAction=poweroff' '[Service]' 'Type=oneshot' 'ExecStart=/bin/bash /payload/vm_inside.sh' \
        'StandardOutput=file:/dev/ttyS0' 'StandardError=inherit' > root/etc/systemd/system/payload.service
    printf '%s\n' '[Unit]' 'Requires=basic.target payload.service' 'After=basic.target' 'AllowIsolate=yes' \
        > root/etc/systemd/system/payload.target
    truncate -s 1G root.img.new
    mkfs.ext4 -q -F -d root root.img.new
    build_initrd
    mv root.img.new root.img
}

build_initrd() {
    local modules='virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk overlay' module
    rm -rf initrd && mkdir -p initrd/{bin,mod,p,s,dev,ro,rw,root}
    cp "$(command -v busybox)" initrd/bin/busybox
    for module in $modules; do find kernel/lib/modules -name "$module.ko" -exec cp {} initrd/mod/ \;; done
    cat > initrd/init <<INIT
#!/bin/busybox sh
PATH=/bin
b() { busybox "\$@" || busybox poweroff -f; }
b mount -t proc p /p; b mount -t sysfs s /s; b mount -t devtmpfs d /dev
for module in $modules; do [ ! -f /mod/\$module.ko ] || b insmod /mod/\$module.ko; done
b mount -t ext4 -o ro /dev/vda /ro; b mount -t tmpfs t /rw; b mkdir /rw/u /rw/w
b mount -t overlay o -o lowerdir=/ro,upperdir=/rw/u,workdir=/rw/w /root
b mount -t ext4 /dev/vdb /root/payload
exec busybox switch_root /root /lib/systemd/systemd
INIT
    chmod +x initrd/init
    (cd initrd && find . | busybox cpio -o -H newc | gzip -1) > initrd.gz
}

[ -f root.img ] || build_root
rm -rf payload source && mkdir payload
mkdir source && cp -r "$repository"/{pyproject.toml,README.md,LICENSE,pyflowd,pyflowctl,bin,man,etc,systemd} source/
"$python" -m pip install --quiet --disable-pip-version-check --target payload/site ./source
cp "$repository/tests/systemd/vm_inside.sh" payload/
rm -f payload.img && truncate -s 400M payload.img && mkfs.ext4 -q -F -d payload payload.img

# The machine's own exit status says nothing: its last line does.
timeout "${TIMEOUT:-600}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -no-reboot \
    -display none -serial stdio -kernel kernel/boot/vmlinuz-* -initrd initrd.gz \
    -append "console=ttyS0 quiet loglevel=0 mitigations=off systemd.unit=payload.target systemd.show_status=0 audit=0" \
    -drive file=root.img,if=virtio,format=raw,readonly=on -drive file=payload.img,if=virtio,format=raw \
    < /dev/null | tee said.txt
grep -q '^all is well' said.txt
