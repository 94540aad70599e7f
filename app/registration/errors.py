"""How registering can fail."""

from __future__ import annotations

from app.errors import Forbidden, Problem


class UsernameTaken(Problem):
    """Usernames are public, so that one is taken may be told; whether an address is known may not."""

    code = "username_taken"
    title = "This username is taken"
    status = 409

    def __init__(self) -> None:
        super().__init__("Choose another username.", errors={"/username": ["is taken"]})


class RegistrationClosed(Forbidden):
    """REGISTRATION is not open."""

    code = "registration_closed"
    title = "Registration is not open"
