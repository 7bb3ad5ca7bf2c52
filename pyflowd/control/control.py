"""The control socket: accepts, frames, decodes, asks for an answer, sends it. Knows nothing of what is asked.

An answer is an iterator of `Item`s, pulled only while the peer reads: a slow peer costs at most one frame of memory and
never delays others. `Wait` parks an answer until one of its topics is woken. Answers to what changes something are
pulled after the turn's commit (`flush`), so nothing is said that is not durable (rules I1, I7).
"""

from __future__ import annotations

import logging
import os
import resource
import selectors
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from pyflowd.base.peer import Peer, Roles, identify, nobody
from pyflowd.base.timers import Timer, Timers
from pyflowd.clock import US, Clock
from pyflowd.errors import Forbidden, PyflowError, Unavailable
from pyflowd.protocol.frames import Command, Finish, Hello, Print, frame, opening_decoder, request_decoder
from pyflowd.protocol.requests import GetVersion, Request
from pyflowd.protocol.views import Alive, Failure
from pyflowd.protocol.words import FRAME_MAX, VERSION

CONNECTIONS_MAX = 400
"""Peers that have asked something; less where fewer descriptors may be open."""
CONNECTIONS_PER_USER = 200
"""So that no one user can shut out the others."""
SILENT_MAX = 100
"""Peers that have asked nothing yet. One more, and the one that has been silent for longest goes; they are more than
are accepted in one turn, so who asks at once is heard."""
DESCRIPTORS_KEPT = 250
"""For the store, the keeper, and the logs of tasks that are being started."""
HANDSHAKE_S = 10
"""A peer that has not sent a whole frame by then is dropped."""
IDLE_S = 300
"""A typed client that asks nothing for so long is dropped."""
ALIVE_S = 5
TURN_US = 20_000
"""An answer that was pulled for so long goes on in the next turn: a long one to a fast reader delays nobody."""
ACCEPT_PAUSE_S = 1
"""Without a descriptor to spare the listener stays readable: it is not looked at for a while."""
_READ_BYTES = 65_536

log = logging.getLogger("pyflowd.control.control")


class Wait(NamedTuple):
    """Park the answer until a topic is woken; a wake within `quiet_us` after parking waits for the rest of it."""

    topics: frozenset[str]
    quiet_us: int = 0


NEXT_TURN = Wait(frozenset())
"""Go on in the next turn: of what takes long a piece is done in each."""


class Frame(NamedTuple):
    """One frame to send, with descriptors that are sent along and then closed."""

    data: bytes
    descriptors: tuple[int, ...] = ()


Item = Frame | Wait
Answer = Iterator[Item]


class Standing(NamedTuple):
    """Who speaks with a token, with the rights of now."""

    peer: Peer
    holds_us: int
    """Ask again after so long at the latest."""


class Tokens(Protocol):
    """Whom tokens stand for."""

    def open(self, text: str, kernel: Peer) -> Standing:
        """Raises Forbidden, Unavailable. `kernel`: who shows the token."""
        ...

    def renew(self, peer: Peer, *, used: bool) -> Standing:
        """The same peer as it is now. Raises Forbidden. `used`: for a request, which keeps a session from ending."""
        ...


class Answers(NamedTuple):
    """What the control socket is given to answer with."""

    request: Callable[[Request, Peer], Answer]
    command: Callable[[Command, Peer], Answer]
    tokens: Tokens


class Connection:
    """One peer: bytes in, at most one answer under way, bytes out."""

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        self.sock = sock
        self.uid = peer.uid
        """By the kernel; `peer` may be somebody for whom it speaks."""
        self.peer = peer
        self.received = bytearray()
        self.greeted = False
        """Whether it is a typed client that has said Hello."""
        self.thin = False
        """Whether it is a thin client: its errors are printed."""
        self.last = False
        """Close when what is in `out` has gone."""
        self.answer: Answer | None = None
        self.wait: Wait | None = None
        self.parked_us = 0
        self.woken: Timer | None = None
        self.out: deque[Frame] = deque()
        self.sent = 0
        """Bytes of the first frame of `out` that have gone."""
        self.deadline: Timer | None = None
        self.alive: Timer | None = None
        self.review: Timer | None = None
        """When to ask again whom its token stands for."""
        self.closed = False


class Control:
    """The server. `listener` is bound and listening; `stop` closes everything and is safe twice."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        timers: Timers,
        clock: Clock,
        known: Roles,
        answers: Answers,
    ) -> None:
        self.listener = listener
        self.selector = selector
        self.timers = timers
        self.clock = clock
        self.known = known
        self.answers = answers
        self.connections: set[Connection] = set()
        self.per_user: Counter[int] = Counter()
        self._silent: dict[Connection, None] = {}
        """Who has not sent a whole frame, the oldest first."""
        self._most = most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._fresh: dict[Connection, None] = {}
        """Whose answers are to be pulled by the next `flush`, in order."""
        self._is_to_review = False

    def start(self) -> None:
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)

    def stop(self) -> None:
        if self.listener.fileno() < 0:
            return
        if self.listener in self.selector.get_map():
            self.selector.unregister(self.listener)
        self.listener.close()
        for connection in list(self.connections):
            self._close(connection)

    # ---- Called by the dispatcher

    def flush(self) -> None:
        """Pull and send the answers that were begun in this turn; what they rest on is durable now."""
        fresh, self._fresh = self._fresh, {}
        for connection in fresh:
            if not connection.closed:
                self._pump(connection)
        if self._is_to_review:
            self._is_to_review = False
            self.review()

    def has_work(self) -> bool:
        """Whether `flush` has something to do: a second request of a peer, or the rest of a long answer."""
        return bool(self._fresh)

    def refuse_fresh(self, error: PyflowError) -> None:
        """This turn could not be committed: what was asked in it is not durable, and not acknowledged (rule I9)."""
        for connection in self._fresh:
            if connection.answer is not None:
                _end(connection.answer)
                connection.answer = iter(_failed(connection, failure(error)))

    def wake(self, topics: set[str]) -> None:
        """Something happened to these topics: go on with the answers that wait for one of them."""
        for connection in list(self.connections):
            wait = connection.wait
            if wait and not topics.isdisjoint(wait.topics):
                self._wake(connection, wait)

    # ---- Peers come and go

    def _accept(self, _: int) -> None:
        for _attempt in range(64):
            try:
                sock, _address = self.listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors: the caps below keep this from happening by our own doing
                log.warning("cannot accept a connection: %s", error, extra={"action": "accept_failed"})
                self.selector.unregister(self.listener)
                self.timers.at(self.clock.mono_us() + ACCEPT_PAUSE_S * US, self._listen_again)
                return
            self._admit(sock)

    def _listen_again(self) -> None:
        if self.listener.fileno() >= 0:
            self.selector.register(self.listener, selectors.EVENT_READ, self._accept)

    def _admit(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        peer = identify(sock, self.known)
        connection = Connection(sock, peer)
        self.connections.add(connection)
        self.selector.register(sock, selectors.EVENT_READ, lambda mask: self._ready(connection, mask))
        self._silent[connection] = None
        self._deadline(connection, HANDSHAKE_S)
        if len(self._silent) > SILENT_MAX:
            self._close(next(iter(self._silent)))

    def take_roles(self, known: Roles) -> None:
        """Also for those who are connected; what somebody is being told and would not be now ends."""
        self.known = known
        self.review()
        for connection in list(self.connections):
            before = connection.peer
            if before.carrier is not None:
                continue
            connection.peer = msgspec.structs.replace(before, level=known.level(before.uid, before.groups))
            if connection.peer.level < before.level and connection.answer is not None:
                self._close(connection)

    def review_when_answered(self) -> None:
        """At the end of the next `flush`: who asked for the end of his own token is answered first."""
        self._is_to_review = True

    def review(self) -> None:
        """Tokens may have ended, or stand for less: whoever speaks with such a one is cut off."""
        for connection in list(self.connections):
            if connection.peer.token:
                self._review(connection)

    def _review(self, connection: Connection) -> None:
        before = connection.peer
        try:
            self._stands(connection, self.answers.tokens.renew(before, used=False))
        except Forbidden:
            self._close(connection)
            return
        now = connection.peer
        if connection.answer is not None and (now.level < before.level or before.groups - now.groups):
            self._close(connection)

    def _stands(self, connection: Connection, standing: Standing) -> None:
        connection.peer = standing.peer
        if connection.review:
            connection.review.cancel()
        due_us = self.clock.mono_us() + standing.holds_us
        connection.review = self.timers.at(due_us, lambda: self._review(connection))

    def _close(self, connection: Connection) -> None:
        if connection.closed:
            return
        connection.closed = True
        self.connections.discard(connection)
        if connection in self._silent:
            del self._silent[connection]
        else:
            self.per_user[connection.uid] -= 1
        for timer in (connection.deadline, connection.alive, connection.woken, connection.review):
            if timer:
                timer.cancel()
        for left in connection.out:
            close_all(left.descriptors)
        if connection.answer is not None:
            _end(connection.answer)
        self.selector.unregister(connection.sock)
        connection.sock.close()

    def _deadline(self, connection: Connection, seconds: int) -> None:
        if connection.deadline:
            connection.deadline.cancel()
        due_us = self.clock.mono_us() + seconds * US
        connection.deadline = self.timers.at(due_us, lambda: self._close(connection))

    # ---- Bytes in

    def _ready(self, connection: Connection, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            self._read(connection)
        if mask & selectors.EVENT_WRITE and not connection.closed:
            self._pump(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.received += data
        self._next_frame(connection)

    def _next_frame(self, connection: Connection) -> None:
        """Begin the answer to the next whole frame; one at a time, later ones wait in the buffer."""
        if connection.answer or connection.closed or connection.last:
            if len(connection.received) > FRAME_MAX + 4:
                self._close(connection)
            return
        received = connection.received
        if len(received) < 4:
            return
        size = int.from_bytes(received[:4], "big")
        if size > FRAME_MAX:
            message = f"a frame of {size} bytes; at most {FRAME_MAX} are taken"
            self._refuse(connection, Failure(code="usage", message=message, exit_status=2))
            return
        if len(received) < 4 + size:
            return
        body = bytes(received[4 : 4 + size])
        del received[: 4 + size]
        if connection.deadline:
            connection.deadline.cancel()
        self._begin(connection, body)

    def _begin(self, connection: Connection, body: bytes) -> None:
        try:
            if connection.greeted:
                request = request_decoder.decode(body)
                if connection.peer.token and not self._renewed(connection):
                    return
                connection.answer = self.answers.request(request, connection.peer)
            else:
                self._open(connection, opening_decoder.decode(body))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            self._refuse(connection, Failure(code="usage", message=f"not a request: {error}", exit_status=2))
            return
        except PyflowError as error:
            if error.fatal:
                raise
            connection.last = not connection.greeted  # a typed client may ask something else
            connection.answer = iter(_failed(connection, failure(error)))
        except Exception:  # a fault of ours in one request ends neither the daemon nor other answers
            log.exception("a request failed", extra={"action": "request_failed"})
            self._refuse(connection, _INTERNAL)
            return
        self._fresh[connection] = None

    def _renewed(self, connection: Connection) -> bool:
        """False: its token is at its end, and so is the connection."""
        try:
            self._stands(connection, self.answers.tokens.renew(connection.peer, used=True))
        except Forbidden as error:
            self._refuse(connection, failure(error))
            return False
        return True

    def _count(self, connection: Connection) -> None:
        """It has asked something: from now on it has a place, if there is one. Raises Unavailable."""
        del self._silent[connection]
        uid = connection.uid
        self.per_user[uid] += 1
        connected = len(self.connections) - len(self._silent)
        if uid != 0 and self.per_user[uid] > CONNECTIONS_PER_USER:
            raise Unavailable(f"user {uid} has {CONNECTIONS_PER_USER} connections already: close some, or try again")
        if connected > self._most:
            raise Unavailable(f"{self._most} clients are connected, and that is as many as may be: try again")

    def _open(self, connection: Connection, opening: Command | Hello) -> None:
        connection.thin = isinstance(opening, Command)
        if connection in self._silent:
            self._count(connection)
        if isinstance(opening, Command):
            connection.last = True
            connection.answer = self.answers.command(opening, connection.peer)
            return
        if opening.version > VERSION:
            raise Unavailable(
                f"this daemon speaks protocol {VERSION}, the client {opening.version}; restart pyflowd after an upgrade"
            )
        if opening.token is not None:
            self._speak(connection, opening.token)
        connection.answer = self.answers.request(GetVersion(), connection.peer)
        connection.greeted = True

    def _speak(self, connection: Connection, token: str) -> None:
        """For somebody else from now on. Raises Forbidden, Unavailable."""
        if token:
            self._stands(connection, self.answers.tokens.open(token, connection.peer))
        else:
            connection.peer = nobody(connection.peer)

    def _refuse(self, connection: Connection, why: Failure) -> None:
        connection.answer = iter(_failed(connection, why))
        connection.last = True
        self._fresh[connection] = None

    # ---- Bytes out

    def _pump(self, connection: Connection) -> None:
        """Send what is there; then pull the next item of the answer, until the peer is full or the answer waits."""
        until_us = self.clock.mono_us() + TURN_US
        while not connection.closed:
            if connection.out and not self._send(connection):
                self._listen(connection, writing=True)
                return
            if connection.out:
                continue
            if connection.wait or connection.answer is None or connection in self._fresh:
                break
            if self.clock.mono_us() > until_us:
                self._fresh[connection] = None
                break
            self._pull(connection)
        if not connection.closed:
            self._listen(connection, writing=False)

    def _pull(self, connection: Connection) -> None:
        assert connection.answer is not None
        try:
            item = next(connection.answer, None)
        except PyflowError as error:
            if error.fatal:
                raise
            connection.answer = iter(_failed(connection, failure(error)))
            return
        except Exception:
            log.exception("an answer failed", extra={"action": "answer_failed"})
            connection.answer = iter(_failed(connection, _INTERNAL))
            return
        if item is None:
            self._answered(connection)
        elif item is NEXT_TURN:
            self._fresh[connection] = None
        elif isinstance(item, Wait):
            self._park(connection, item)
        else:
            connection.out.append(item)

    def _answered(self, connection: Connection) -> None:
        connection.answer = None
        if connection.alive:
            connection.alive.cancel()
            connection.alive = None
        if connection.last:
            self._close(connection)
            return
        self._deadline(connection, IDLE_S)
        self._next_frame(connection)

    def _send(self, connection: Connection) -> bool:
        """Send of the first frame what the kernel takes; False: the peer is full. A dead peer is closed."""
        first = connection.out[0]
        try:
            if first.descriptors and not connection.sent:
                count = socket.send_fds(connection.sock, [first.data], list(first.descriptors))
                close_all(first.descriptors)
                connection.out[0] = Frame(first.data)
            else:
                count = connection.sock.send(memoryview(first.data)[connection.sent :])
        except BlockingIOError:
            return False
        except OSError:
            self._close(connection)
            return True
        connection.sent += count
        if connection.sent == len(first.data):
            connection.out.popleft()
            connection.sent = 0
        return True

    def _listen(self, connection: Connection, *, writing: bool) -> None:
        key = self.selector.get_key(connection.sock)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        if key.events != events:
            self.selector.modify(connection.sock, events, key.data)

    # ---- Waiting

    def _park(self, connection: Connection, wait: Wait) -> None:
        connection.wait = wait
        connection.parked_us = self.clock.mono_us()
        if connection.alive is None:
            self._keep_alive(connection)

    def _wake(self, connection: Connection, wait: Wait) -> None:
        due_us = connection.parked_us + wait.quiet_us
        if due_us <= self.clock.mono_us():
            self._go_on(connection)
        elif connection.woken is None:
            connection.woken = self.timers.at(due_us, lambda: self._go_on(connection))

    def _go_on(self, connection: Connection) -> None:
        if connection.woken:
            connection.woken.cancel()
            connection.woken = None
        connection.wait = None
        if not connection.closed:
            self._fresh[connection] = None

    def _keep_alive(self, connection: Connection) -> None:
        def send() -> None:
            if connection.closed or connection.answer is None:
                return
            if connection.wait and not connection.out:
                connection.out.append(Frame(frame(Alive())))
                self._fresh[connection] = None
            self._keep_alive(connection)

        connection.alive = self.timers.at(self.clock.mono_us() + ALIVE_S * US, send)


def most_connections(files: int) -> int:
    """How many peers may have asked something at a time, where so many files may be open."""
    return max(16, min(CONNECTIONS_MAX, files - SILENT_MAX - DESCRIPTORS_KEPT))


_INTERNAL = Failure(code="internal", message="internal error; see the daemon's log", exit_status=4)


def failure(error: PyflowError) -> Failure:
    return Failure(code=error.code, message=str(error), exit_status=error.exit_status)


def _failed(connection: Connection, why: Failure) -> list[Frame]:
    """The end of an answer that failed, as this peer is told it."""
    if connection.thin:
        line = f"pyflowctl: {why.message}\n".encode("utf-8", "backslashreplace")
        return [Frame(frame(Print(2, line))), Frame(frame(Finish(why.exit_status)))]
    return [Frame(frame(why))]


def _end(answer: Answer) -> None:
    """Nobody pulls it any more: a generator may hold descriptors."""
    close = getattr(answer, "close", None)
    if close:
        close()


def close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
