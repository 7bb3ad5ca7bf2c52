"""Places that runs share: all or nothing, in order, given back, no circle that is not found."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyflowd.engine import places as places_module
from pyflowd.engine.holdings import RUN, Place, Sort, Want, Who
from pyflowd.engine.places import Places

A, B, C = (Place(Sort.LOCK, name) for name in "abc")
CRM = Place(Sort.POOL, "crm")
WEB = Place(Sort.GROUP, "web")
SIZES = {"crm": 3, "disk": 2}


def places() -> Places:
    return Places(lambda name: SIZES.get(name, 1))


def want(*places: Place, limit: int = 1, **slots: int) -> Want:
    return Want(
        tuple(sorted([*((place, 1) for place in places), *((Place(Sort.POOL, n), k) for n, k in slots.items())])), limit
    )


def run(number: int) -> Who:
    return Who(number, RUN)


def granted(of: Places, refuse: frozenset[Who] = frozenset()) -> list[Who]:
    return list(of.grant(lambda who: who not in refuse))


def test_who_asks_gets_all_or_nothing() -> None:
    of = places()
    of.ask(run(1), want(A), 1)
    of.ask(run(2), want(A, B), 2)
    of.ask(run(3), want(C), 3)
    assert granted(of) == [run(1), run(3)]
    assert of.holders(B) == ()
    of.leave(run(1))
    assert granted(of) == [run(2)]


def test_one_that_waits_keeps_later_ones_from_what_it_wants() -> None:
    of = places()
    of.ask(run(1), want(A), 1)
    of.ask(run(2), want(A, B), 2)
    of.ask(run(3), want(B), 3)
    assert granted(of) == [run(1)]
    assert of.obstacles(run(3))[0].before == (run(2),)


def test_a_smaller_key_comes_first() -> None:
    of = places()
    of.ask(run(1), want(A), 5)
    assert granted(of) == [run(1)]
    of.ask(run(2), want(A), 7)
    of.ask(run(3), want(A), 6)
    of.leave(run(1))
    assert granted(of) == [run(3)]


def test_who_waits_for_a_run_that_another_has_called_can_be_part_of_a_circle() -> None:
    of = places()
    caller, joined = Who(1, 0), Who(2, 0)
    of.ask(caller, want(A), 1, [run(1)])
    of.ask(joined, want(B), 2, [run(2)])
    assert granted(of) == [caller, joined]
    of.join(joined, 3, [run(2)])
    of.ask(Who(3, 0), want(B), 3, [run(3), caller, run(1)])
    assert granted(of) == []
    assert of.stuck() == Who(3, 0)
    of.part(joined, 3)
    assert of.stuck() is None


def test_who_waits_for_a_run_with_no_place_of_its_own_can_be_part_of_a_circle() -> None:
    of = places()
    joined = Who(2, 0)
    of.ask(joined, want(B), 1, [run(2)])
    assert granted(of) == [joined]
    of.ask(run(3), want(B), 2)
    assert granted(of) == []
    assert (of.may_be_stuck, of.stuck()) == (False, None)
    of.join(joined, 3, [run(2)])
    assert (of.may_be_stuck, of.stuck()) == (True, run(3))


def test_a_pool_that_became_smaller_keeps_nobody_from_the_slots_that_its_caller_holds() -> None:
    sizes = {"crm": 3}
    of = Places(lambda name: sizes[name])
    of.ask(Who(1, 0), want(crm=3), 1, [run(1)])
    assert granted(of) == [Who(1, 0)]
    sizes["crm"] = 1
    of.ask(Who(2, 0), want(crm=2), 2, [run(2), Who(1, 0), run(1)])
    of.ask(Who(2, 1), want(crm=2), 3, [run(2), Who(1, 0), run(1)])
    assert granted(of) == [Who(2, 0)]
    assert of.used(CRM) == 3
    assert of.stuck() is None


def test_while_the_host_is_full_only_those_go_who_need_no_place_of_it() -> None:
    of = places()
    of.ask(Who(1, 0), want(A), 1, [run(1)], needs_host=True)
    of.ask(Who(2, 0), want(B), 2, [run(2)])
    assert list(of.grant(lambda _: True, lambda: False)) == [Who(2, 0)]
    of.stir()
    assert list(of.grant(lambda _: True, lambda: True)) == [Who(1, 0)]


def test_slots_of_a_pool_are_counted() -> None:
    of = places()
    for number, slots in ((1, 2), (2, 1), (3, 1)):
        of.ask(run(number), want(crm=slots), number)
    assert granted(of) == [run(1), run(2)]
    assert of.used(CRM) == 3
    of.leave(run(2))
    assert granted(of) == [run(3)]


def test_who_wants_more_than_a_pool_has_comes_when_nobody_else_is_there() -> None:
    of = places()
    of.ask(run(1), want(crm=1), 1)
    of.ask(run(2), want(crm=9), 2)
    of.ask(run(3), want(crm=1), 3)
    assert granted(of) == [run(1)]
    of.leave(run(1))
    assert granted(of) == [run(2)]
    of.leave(run(2))
    assert granted(of) == [run(3)]


def test_the_least_limit_of_a_group_holds() -> None:
    of = places()
    of.ask(run(1), want(WEB, limit=3), 1)
    of.ask(run(2), want(WEB, limit=3), 2)
    of.ask(run(3), want(WEB, limit=1), 3)
    assert granted(of) == [run(1), run(2)]
    of.leave(run(1))
    assert granted(of) == []
    of.leave(run(2))
    assert granted(of) == [run(3)]
    of.ask(run(4), want(WEB, limit=3), 4)
    assert granted(of) == []


def test_one_whose_run_is_full_lets_others_go_and_keeps_nothing_for_itself() -> None:
    of = places()
    of.ask(Who(1, 4), want(A), 1, [run(1)])
    of.ask(Who(2, 4), want(A), 2, [run(2)])
    assert granted(of, frozenset({Who(1, 4)})) == [Who(2, 4)]
    of.leave(Who(2, 4))
    assert granted(of) == [Who(1, 4)]


def test_a_lock_of_the_run_is_free_for_its_tasks_one_at_a_time() -> None:
    of = places()
    of.ask(run(1), want(A), 1)
    assert granted(of) == [run(1)]
    of.ask(run(2), want(A), 2)
    of.ask(Who(1, 5), want(A), 3, [run(1)])
    of.ask(Who(1, 6), want(A), 4, [run(1)])
    assert granted(of) == [Who(1, 5)]
    of.leave(Who(1, 5))
    assert granted(of) == [Who(1, 6)]
    of.leave(Who(1, 6))
    of.leave(run(1))
    assert granted(of) == [run(2)]


def test_a_called_run_uses_the_slot_of_its_caller_and_needs_further_ones_of_its_own() -> None:
    of = places()
    of.ask(Who(1, 0), want(disk=1), 1, [run(1)])
    assert granted(of) == [Who(1, 0)]
    chain = [run(2), Who(1, 0), run(1)]
    for node in range(3):
        of.ask(Who(2, node), want(disk=1), 2 + node, chain)
    assert granted(of) == [Who(2, 0), Who(2, 1)]
    assert of.used(Place(Sort.POOL, "disk")) == 2


def test_a_place_within_goes_to_the_one_around_when_that_leaves_first() -> None:
    of = places()
    of.hold(run(1), want(A))
    of.hold(Who(1, 5), want(A), [run(1)])
    of.leave(run(1))
    of.ask(run(2), want(A), 1)
    assert granted(of) == []
    of.leave(Who(1, 5))
    assert granted(of) == [run(2)]


def test_runs_that_call_each_other_with_locks_crosswise_wait_in_a_circle_and_the_last_is_named() -> None:
    of = places()
    of.hold(run(1), want(A))
    of.hold(run(2), want(B))
    of.ask(run(3), want(B), 3, [Who(1, 0), run(1)])
    assert of.stuck() is None
    of.ask(run(4), want(A), 4, [Who(2, 0), run(2)])
    assert granted(of) == []
    assert of.stuck() == run(4)
    of.leave(run(4))
    of.leave(run(2))
    assert granted(of) == [run(3)]


def test_waiting_for_one_that_ends_by_itself_is_no_circle() -> None:
    of = places()
    of.hold(run(1), want(A))
    of.hold(Who(9, 0), want(crm=3), [run(9)])
    of.ask(Who(1, 0), want(crm=1), 3, [run(1)])
    assert granted(of) == []
    assert of.stuck() is None


def test_who_leaves_twice_or_was_never_there_does_no_harm() -> None:
    of = places()
    of.leave(run(1))
    of.ask(run(1), want(A), 1)
    assert granted(of) == [run(1)]
    of.leave(run(1))
    of.leave(run(1))
    assert of.known() == set()


def test_a_size_that_grows_lets_more_in() -> None:
    sizes = {"crm": 1}
    of = Places(sizes.__getitem__)
    for number in (1, 2, 3):
        of.ask(run(number), want(crm=1), number)
    assert granted(of) == [run(1)]
    sizes["crm"] = 2
    of.stir()
    assert granted(of) == [run(2)]


# ---- Random interleavings -------------------------------------------------------------------------------------------

PLACES = [A, B, C, CRM, Place(Sort.POOL, "disk"), WEB, Place(Sort.GROUP, "db")]


class World:
    """Runs with locks of their own, tasks with places, calls that call calls: as `runs` uses the places."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.of = places()
        self.alive: dict[int, dict[str, object]] = {}
        self.next = 1
        self.now = 0
        self.refused: set[Who] = set()

    def want(self, *, of_run: bool) -> Want | None:
        sorts = (Sort.LOCK, Sort.GROUP) if of_run else (Sort.LOCK, Sort.POOL)
        some = [place for place in PLACES if place.sort in sorts]
        groups = 0
        units = []
        for place in self.chance.sample(some, self.chance.randint(0, 2)):
            groups += place.sort is Sort.GROUP
            if place.sort is not Sort.GROUP or groups == 1:
                units.append((place, self.chance.randint(1, 2) if place.sort is Sort.POOL else 1))
        return Want(tuple(sorted(units)), self.chance.randint(1, 3)) if units else None

    def begin(self, tasks: int, depth: int, chain: list[Who]) -> int:
        number, self.next = self.next, self.next + 1
        self.now += 1
        state = {"left": tasks, "depth": depth, "chain": chain, "in": False, "tasks": {}, "node": 0}
        self.alive[number] = state
        wanted = self.want(of_run=True)
        if wanted is None:
            state["in"] = True
        else:
            self.of.ask(run(number), wanted, self.now - 60 * self.chance.randint(0, 1), chain)
        return number

    def let_go(self) -> bool:
        """Give out what can be given out, begin tasks; whether anything happened."""
        happened = False
        for who in self.of.grant(lambda _: True):
            happened = True
            state = self.alive[who.run]
            if who.node == RUN:
                state["in"] = True
            else:
                self.task_begins(who)
        for number, state in list(self.alive.items()):
            if state["in"] and state["left"] and len(state["tasks"]) < 3:
                happened = True
                state["left"] -= 1
                node, state["node"] = state["node"], state["node"] + 1
                who, wanted = Who(number, node), self.want(of_run=False)
                state["tasks"][who] = None
                self.now += 1
                if wanted is None:
                    self.task_begins(who)
                else:
                    self.of.ask(who, wanted, self.now, [run(number), *state["chain"]])
        return happened

    def task_begins(self, who: Who) -> None:
        state = self.alive[who.run]
        child = None
        if state["depth"] < 3 and self.chance.random() < 0.4:
            child = self.begin(self.chance.randint(1, 3), state["depth"] + 1, [who, run(who.run), *state["chain"]])
        state["tasks"][who] = ("runs", child)

    def end_one(self) -> bool:
        """A task that waits for no child ends, or a run without tasks does."""
        ready = [
            who
            for state in self.alive.values()
            for who, doing in state["tasks"].items()
            if doing is not None and doing[1] not in self.alive
        ]
        if ready:
            who = self.chance.choice(ready)
            self.of.leave(who)
            del self.alive[who.run]["tasks"][who]
            return True
        done = [
            number for number, state in self.alive.items() if state["in"] and not state["left"] and not state["tasks"]
        ]
        for number in done:
            self.of.leave(run(number))
            del self.alive[number]
        return bool(done)

    def refuse(self, who: Who) -> None:
        self.of.leave(who)
        state = self.alive[who.run]
        if who.node == RUN:
            state["in"], state["left"] = True, 0
        else:
            del state["tasks"][who]
        self.refused.add(who)

    def check(self) -> None:
        """Holders live; nobody holds more than there is, but one that wants more than there is at all."""
        for place in self.of.known():
            for who in self.of.holders(place):
                assert who.run in self.alive
            used = self.of.used(place)
            size = self.of.size(place, 10)
            assert used <= size or len(self.of.holders(place)) == 1


@pytest.mark.parametrize("passed_max", [0, 2, places_module.PASSED_MAX])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_whatever_happens_all_runs_end_and_every_place_is_given_back(
    passed_max: int, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(places_module, "PASSED_MAX", passed_max)
    world = World(seed)
    for _ in range(world.chance.randint(1, 8)):
        world.begin(world.chance.randint(1, 4), 0, [])
    for _ in range(5_000):
        moved = world.let_go()
        world.check()
        stuck = None if moved else world.of.stuck()
        if stuck is not None:
            world.refuse(stuck)
            continue
        if not world.end_one() and not moved:
            break
    assert world.alive == {}
    assert world.of.known() == set()


@pytest.mark.parametrize("seed", range(30))
def test_without_calls_and_with_locks_in_order_nobody_is_ever_refused(seed: int) -> None:
    """The rule that a run's own locks come before those of its tasks: no circle can arise."""
    chance = random.Random(seed)
    of = places()
    locks = [Place(Sort.LOCK, name) for name in "abcdef"]
    runs: dict[int, dict[str, list[Who]]] = {}
    for number in range(1, 7):
        cut = chance.randint(1, 4)
        runs[number] = {"waiting": [], "in": []}
        of.ask(run(number), want(*chance.sample(locks[:cut], chance.randint(1, cut))), number)
    tasks_left = dict.fromkeys(runs, 4)
    inside: set[int] = set()
    busy: list[Who] = []
    for _ in range(2_000):
        moved = False
        for who in of.grant(lambda _: True):
            moved = True
            if who.node == RUN:
                inside.add(who.run)
            else:
                busy.append(who)
        for number in sorted(inside):
            if tasks_left[number]:
                tasks_left[number] -= 1
                own = [place for place, _ in of._of[run(number)].units]
                later = [place for place in locks if place > max(own)]
                some = chance.sample(later, min(len(later), chance.randint(1, 2)))
                who = Who(number, tasks_left[number])
                if some:
                    of.ask(who, want(*some), 100, [run(number)])
                    runs[number]["waiting"].append(who)
                moved = True
        assert of.stuck() is None
        if busy:
            who = busy.pop(chance.randrange(len(busy)))
            of.leave(who)
            runs[who.run]["waiting"].remove(who)
            moved = True
        for number in sorted(inside):
            if not tasks_left[number] and not runs[number]["waiting"]:
                of.leave(run(number))
                inside.discard(number)
                moved = True
        if not moved:
            break
    assert of.known() == set()


def test_one_in_the_middle_that_leaves_first_frees_nothing() -> None:
    of = places()
    of.hold(run(1), want(A))
    of.hold(run(2), want(A), [run(1)])
    of.hold(run(3), want(A), [run(2), run(1)])
    of.leave(run(2))
    of.leave(run(1))
    of.ask(run(4), want(A), 1)
    assert granted(of) == []


def passing(of: Places, who: Who, rounds: int) -> int | None:
    """Tasks of two runs take a and b in turns, so that both are never free at once; after how many `who` came."""
    of.hold(run(1), want(C))
    of.hold(run(2), want(WEB))
    of.ask(Who(1, 0), want(A), 1, [run(1)])
    granted(of)
    for turn in range(1, rounds):
        first, second = ((2, B), (1, A)) if turn % 2 else ((1, A), (2, B))
        of.ask(Who(first[0], turn), want(first[1]), turn, [run(first[0])])
        came = granted(of)
        of.leave(Who(second[0], turn - 1))
        came += granted(of)
        if who in came:
            return turn
        if Who(first[0], turn) not in came:
            of.leave(Who(first[0], turn))  # it is kept back: it would come later
    return None


def test_one_that_wants_two_places_is_not_passed_for_ever_by_those_who_hold_something() -> None:
    of = places()
    of.hold(Who(1, 0), want(A), [run(1)])
    of.ask(run(9), want(A, B), 0)
    came = passing(of, run(9), 3 * places_module.PASSED_MAX)
    assert came is not None
    assert came > places_module.PASSED_MAX


def test_nobody_is_kept_back_whose_end_the_other_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "PASSED_MAX", 0)
    of = places()
    of.hold(run(1), want(B))
    of.ask(run(9), want(A, B), 0)
    of.ask(Who(1, 0), want(A), 1, [run(1)])
    assert granted(of) == [Who(1, 0)], "run 9 waits for run 1, which would wait for run 9"


def test_nobody_is_kept_back_whose_end_the_other_waits_for_by_way_of_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "PASSED_MAX", 0)
    of = places()
    of.hold(run(1), want(B))
    of.hold(run(2), want(C))
    of.ask(run(9), want(A, B), 0)
    of.ask(Who(1, 0), want(C), 1, [run(1)])
    of.ask(Who(2, 0), want(A), 2, [run(2)])
    assert granted(of) == [Who(2, 0)], "run 9 waits for run 1, that for run 2, which would wait for run 9"


def test_one_that_is_kept_back_says_for_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "PASSED_MAX", 0)
    of = places()
    of.hold(run(1), want(C))
    of.hold(run(2), want(B))
    of.ask(run(9), want(A, B), 0)
    of.ask(Who(1, 0), want(A), 1, [run(1)])
    assert granted(of) == []
    assert of.obstacles(Who(1, 0))[0].before == (run(9),)


def test_one_that_came_and_asks_again_has_not_been_passed() -> None:
    of = places()
    of.hold(Who(1, 0), want(A), [run(1)])
    of.ask(run(9), want(A, B), 0)
    assert passing(of, run(9), 3 * places_module.PASSED_MAX) is not None
    of.leave(run(9))
    of.ask(run(9), want(A, B), 0)
    assert (of._passed, of._bound) == ({}, {})
