"""Small games whose answers are known by hand."""

from games.persuasion.game import PersuasionGame


def prosecutor_game(tie_break: str = "senders") -> PersuasionGame:
    """The judge and the prosecutor of Kamenica and Gentzkow (2011), the textbook's one-sender game.

    States innocent, guilty (prior 0.7, 0.3); actions acquit, convict. The judge gets 1 for a just
    verdict, the prosecutor 1 for every conviction. With ties going to the sender the optimum
    is 0.6: accuse all of the guilty and 3/7 of the innocent, so that an accusation leaves the
    judge exactly indifferent. With ties going to acquittal (`"first"`) that policy earns 0.
    """
    return PersuasionGame(
        prior=[0.7, 0.3],
        receiver_utility=[[1.0, 0.0], [0.0, 1.0]],
        sender_utility=[[[0.0, 1.0], [0.0, 1.0]]],
        n_signals=2,
        tie_break=tie_break,
        state_names=("innocent", "guilty"),
        action_names=("acquit", "convict"),
        sender_names=("prosecutor",),
    )


def didactic_game() -> PersuasionGame:
    """Two senders, signals, states and actions: the game of the paper's section 5.1.

    The paper's matrices are lost, so these are our choice, made so that both of its landscapes
    show curved cliffs and a plateau. The receiver wants action s in state s and gets 1 for it;
    state 0 has prior 0.6. Along a landscape the senders' policies in one state are fixed and x, y
    are the probabilities with which they send signal 0 in the other. The receiver switches where a
    product such as x * y crosses a constant: the cliffs are hyperbolas. Between them lies a region
    in which no joint signal changes its mind: there the utility is the one of no information, a
    plateau.

    Sender 0 wants action 1 in state 0 and action 0 in state 1 (it profits from mistakes); sender 1
    wants action 1 whatever the state, twice as much in state 1.
    """
    return PersuasionGame(
        prior=[0.6, 0.4],
        receiver_utility=[[1.0, 0.0], [0.0, 1.0]],
        sender_utility=[[[0.0, 2.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 2.0]]],
        n_signals=2,
    )
