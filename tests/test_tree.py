"""Tests of the conversation tree: its moves, and what stays visible after each."""

import pytest

from hermes_cli.errors import UsageError
from hermes_cli.messages import Message, Role
from hermes_cli.tree import MessageState, Node, Tree


def question(text: str) -> Message:
    """Return a turn of the user's."""
    return Message(Role.USER, text)


def answer(text: str) -> Message:
    """Return an answer of the model."""
    return Message(Role.ASSISTANT, text)


def visible(tree: Tree) -> list[str]:
    """Return the texts of the visible messages."""
    return [node.text for node in tree.path]


@pytest.fixture
def tree() -> Tree:
    """A tree with two greetings, two exchanges, and a second answer to the first question."""
    new_tree = Tree(["Welcome!", "Hello!"])
    new_tree.append(question("one"))
    new_tree.append(answer("A"))
    new_tree.append(question("two"))
    new_tree.append(answer("B"))
    new_tree.rewind(2)
    new_tree.append(answer("C"))
    return new_tree


def test_a_new_tree_shows_the_first_greeting() -> None:
    """Greetings are roots. A tree without greetings shows nothing."""
    assert visible(Tree(["Welcome!", "Hello!"])) == ["Welcome!"]
    assert Tree(["Welcome!"]).is_at_greeting
    assert Tree().cursor is None
    assert not Tree().is_at_greeting


def test_undo_restores_the_greeting(tree: Tree) -> None:
    """Every message stays in the tree."""
    tree.goto(6)
    tree.undo(2)
    assert visible(tree) == ["Welcome!"]
    assert len(tree) == 7
    with pytest.raises(UsageError, match="not sent a message"):
        tree.undo()


def test_undo_of_more_turns_than_there_are_is_refused(tree: Tree) -> None:
    """Nothing changes."""
    for count in (0, 2, 9):
        with pytest.raises(UsageError, match=f"cannot go back {count} turns: there is 1 turn in"):
            tree.undo(count)
    assert visible(tree) == ["Welcome!", "one", "C"]


def test_swipes_are_the_answers_to_the_same_turn(tree: Tree) -> None:
    """They are in the order in which they were generated."""
    assert [node.text for node in tree.swipes()] == ["A", "C"]
    tree.swipe(0)
    assert visible(tree) == ["Welcome!", "one", "A"]
    with pytest.raises(UsageError, match="there is no answer 3 here: there are only 2"):
        tree.swipe(2)


def test_greetings_are_swipes_before_the_first_turn(tree: Tree) -> None:
    """An index out of range is refused."""
    tree.undo()
    tree.swipe(1)
    assert visible(tree) == ["Hello!"]
    with pytest.raises(UsageError, match="there is no greeting 0 here: there are only 2"):
        tree.swipe(-1)


def test_a_turn_without_an_answer_has_no_swipes(tree: Tree) -> None:
    """Asking for them is an error."""
    tree.append(question("three"))
    assert tree.is_unanswered
    with pytest.raises(UsageError, match="not an answer"):
        tree.swipes()


def test_goto_shows_the_newest_answer_to_a_turn(tree: Tree) -> None:
    """If the message is an answer, that answer is shown."""
    tree.goto(6)
    assert visible(tree) == ["Welcome!", "one", "A", "two", "B"]
    tree.goto(3)
    assert visible(tree) == ["Welcome!", "one", "C"]
    unanswered = tree.append(question("three"))
    tree.goto(unanswered.id)
    assert visible(tree) == ["Welcome!", "one", "C"]
    for absent in (0, -1, 9):
        with pytest.raises(UsageError, match="no message"):
            tree.goto(absent)


def test_edit_adds_a_turn_beside_the_old_one(tree: Tree) -> None:
    """The new turn has the same parent."""
    tree.goto(6)
    new = tree.edit(2, Message(Role.USER, "one, again"))
    assert visible(tree) == ["Welcome!", "one, again"]
    assert new.parent == 1
    assert [node.text for node in tree.children(1)] == ["one", "one, again"]


def test_a_fork_holds_the_visible_messages_and_their_swipes(tree: Tree) -> None:
    """They are numbered from 1, and the original is unchanged. Other turns are not copied."""
    copy = tree.fork()
    assert [(node.id, node.parent, node.text) for node in copy.nodes] == [
        (1, None, "Welcome!"),
        (2, None, "Hello!"),
        (3, 1, "one"),
        (4, 3, "A"),
        (5, 3, "C"),
    ]
    assert visible(copy) == ["Welcome!", "one", "C"]
    copy.append(question("only here"))
    assert len(tree) == 7


def test_a_fork_leaves_out_an_answer_that_is_being_generated(tree: Tree) -> None:
    """Another window may generate an alternative."""
    tree.undo()
    tree.append(question("two"))
    tree.append(answer("half"), MessageState.PARTIAL)
    tree.move_to(tree.path[-1].parent)
    tree.append(answer("whole"))
    assert [node.text for node in tree.fork().nodes] == ["Welcome!", "Hello!", "two", "whole"]


def test_nodes_from_a_store_are_numbered_from_1() -> None:
    """The tree keeps its shape and its position."""
    tree = Tree.from_nodes([Node(17, None, Role.USER, "q"), Node(40, 17, Role.ASSISTANT, "a")], 40)
    assert [(node.id, node.parent) for node in tree.nodes] == [(1, None), (2, 1)]
    assert tree.cursor == 2


def test_the_path_is_not_computed_again_if_the_tree_is_unchanged(tree: Tree) -> None:
    """The toolbar reads the path at every key press."""
    assert tree.path is tree.path
