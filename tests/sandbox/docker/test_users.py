from app.sandbox.docker.users import HOST_UIDS, MAPPED_UIDS, SHARED_UID, Users, uids_of
from app.sandbox.local.recipe import FIRST_UID


def test_no_two_containers_have_one_uid() -> None:
    users = Users(HOST_UIDS)
    assert {users.take(f"container-{n}") for n in HOST_UIDS} == set(HOST_UIDS)


def test_a_uid_is_given_again_when_its_container_is_gone() -> None:
    users = Users(range(5, 7), first=6)
    assert [users.take("a"), users.take("b")] == [6, 5]
    users.release("a")
    users.release("never seen")
    assert users.take("c") == 6


def test_more_containers_than_uids_share_the_image_s_own() -> None:
    users = Users(range(5, 6))
    assert [users.take(name) for name in "abc"] == [5, SHARED_UID, SHARED_UID]


def test_an_engine_in_a_user_namespace_gets_uids_that_it_can_map() -> None:
    assert uids_of(["name=seccomp,profile=default"]) == HOST_UIDS
    assert uids_of(["name=seccomp,profile=default", "name=userns"]) == MAPPED_UIDS
    assert uids_of(["name=rootless"]) == MAPPED_UIDS
    assert MAPPED_UIDS.stop <= 65_536
    assert SHARED_UID not in MAPPED_UIDS


def test_uids_are_not_those_of_embedded_sandboxes() -> None:
    assert HOST_UIDS.start >= FIRST_UID + 100_000
