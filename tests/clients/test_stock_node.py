"""OAuth and JWT libraries from npm, in tests/clients/stock.mjs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.clients import npm


def test_jose_openid_client_and_oauth4webapi(own_site, node):
    script = shutil.copy(Path(__file__).with_name("stock.mjs"), node)
    env = {
        "TOWN": json.dumps(
            {"url": own_site.url, "id": own_site.key["id"], "key": own_site.key["key"]}
        )
    }
    with npm.run(
        script, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wanted, kids = "", set()
        for line in process.stdout:
            wanted = line.strip()
            if wanted == "done":
                break
            if wanted == "rotated login":
                own_site.rotate_signing_key()
                token = own_site.log_in_with_new_key(kids)
                tokens = {"access_token": token}
            else:
                tokens = own_site.login()
                kids.add(own_site.read_kid(tokens["access_token"]))
            process.stdin.write(json.dumps(tokens) + "\n")
            process.stdin.flush()
        assert wanted == "done", process.stderr.read()
