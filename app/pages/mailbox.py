"""The mailbox of development: mail that would have been sent, to be read or scripted against."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from app.notifications.mail.dev_mailbox import list_mailbox_messages
from app.pages.render import render_developer_page
from app.unit_of_work import UnitOfWork
from app.web.unit_of_work import reading

blp = Blueprint("mailbox", __name__)


@blp.route("/dev/mailbox", methods=["GET"])
@reading
def get_mailbox(work: UnitOfWork) -> Response:
    """The latest mail, newest first; as JSON for whoever accepts that."""
    letters = list_mailbox_messages(work)
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "text/html":
        return render_developer_page("mailbox", letters=letters)
    return jsonify(
        items=[
            {
                "to": letter.rendered.to,
                "subject": letter.rendered.subject,
                "text": letter.rendered.text,
                "html": letter.rendered.html,
                "links": letter.rendered.links,
                "code": letter.code,
            }
            for letter in letters
        ]
    )
