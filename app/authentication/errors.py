"""How showing once more who one is can fail."""

from __future__ import annotations

from app.errors import Problem


class WrongPassword(Problem):
    """The present password was wrong, by somebody who is signed in: not 401, which would make a client throw its session away."""

    code = "wrong_password"
    title = "The present password is wrong"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "Type the password you sign in with. Who does not know it any more asks for a link at /v1/password/forgot."
        )
