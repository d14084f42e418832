"""What every part of the core shares: the state, the configuration, the transcript, the orders.

``Call`` is the one mutable heart of a conversation. Parts of the core (turn taking, replies,
client requests) read and move it; what they want done they append to ``commands``, which
``Conversation.handle`` hands to the shell.
"""

from sessions.core.turns.caller_level import CallerLevel

from .commands import Command, Publish
from .config import SessionConfig, TurnDetection
from .notices import Fault, Notice
from .states import State, Trigger, transition
from .transcript import Transcript


class Call:
    """State shared by the parts of one conversation's core."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.config = SessionConfig()
        self.state = State.LISTENING
        self.transcript = Transcript()
        self.level = CallerLevel()
        self.now = 0.0
        self.quiet_since: float | None = None
        """When the call last came to rest, once there has been a reply."""
        self.commands: list[Command] = []
        self._turns = 0
        self._replies = 0
        self._items = 0

    @property
    def detection(self) -> TurnDetection:
        """The turn detection in force."""
        return self.config.turn_detection

    def move(self, trigger: Trigger) -> None:
        """Go where the table says; raises IllegalTransition."""
        self.state = transition(self.state, trigger)
        if self.state is State.LISTENING and (
            trigger is Trigger.REPLY_ENDED or self.quiet_since is not None
        ):
            self.quiet_since = self.now

    def order(self, command: Command) -> None:
        """Have the shell do something."""
        self.commands.append(command)

    def tell(self, notice: Notice) -> None:
        """Tell the outside."""
        self.commands.append(Publish(notice))

    def refuse(
        self, code: str, message: str, param: str | None = None, event_id: str | None = None
    ) -> None:
        """Tell the client that its request cannot be carried out."""
        self.tell(Fault(code, message, param, event_id))

    def next_turn(self) -> int:
        """A fresh turn number."""
        self._turns += 1
        return self._turns

    def next_reply(self) -> int:
        """A fresh reply number."""
        self._replies += 1
        return self._replies

    def next_item_id(self) -> str:
        """A fresh item id, the same one whenever this call is replayed."""
        self._items += 1
        return f"{self.own_items}{self._items}"

    @property
    def own_items(self) -> str:
        """How the ids of the core's own items begin; a client cannot give such an id."""
        return f"item_{self.call_id}_"
