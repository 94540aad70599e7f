"""The development mailbox: emails that would have been sent, for reading and for scripts."""

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
    """Show the latest emails, newest first, as HTML or JSON."""
    messages = list_mailbox_messages(work)
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "text/html":
        return render_developer_page("mailbox", messages=messages)
    items = [
        {
            "template": message.template,
            "language": message.language,
            "to": message.rendered.to,
            "subject": message.rendered.subject,
            "text": message.rendered.text,
            "html": message.rendered.html,
            "links": message.rendered.links,
            "code": message.code,
        }
        for message in messages
    ]
    return jsonify(items=items)
