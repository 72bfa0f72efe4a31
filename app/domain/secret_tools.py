"""What the words of common tools mean: which of their options take a secret, and which of their words are one.

A table for `app.domain.secret_commands`, which walks over the words of a command. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tool:
    """What a tool's words mean. `secrets`: options with a secret, in the next word, behind `=` or `:`, or attached to one letter and to those
    that are `attached`. `users`: options with a user and, behind `between`, a secret. `before`: letters that may stand before an option's
    own in one word. `places`: which of the words behind a subcommand are secrets, 1 for the next; the subcommand "" is the tool
    itself. `takes`: options whose value is no such word. `pairs`: subcommands behind which `name=secret` stands, where the next word
    begins as is told. `named`: subcommands behind which a name and its value stand; the name tells whether that is a secret.
    `jars`: options whose value is a file, unless `name=` stands in it. `only`, `also`: words without one of which nothing holds."""

    secrets: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    between: str = ":"
    before: str = ""
    attached: tuple[str, ...] = ()
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    pairs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    jars: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    slashes: bool = False
    """Whether its options begin with a slash too, as those of Windows do."""


_ANY: tuple[str, ...] = ("",)
_HTPASSWD = ("-b", "-bc", "-cb", "-bB", "-Bb", "-cbB", "-Bbc", "-bcB", "-cBb", "-bBc", "-Bcb")
_HTPASSWD_SHOWN = ("-nb", "-bn", "-nbB", "-Bbn", "-nBb", "-bnB", "-bBn", "-Bnb")

TOOLS: tuple[tuple[str, Tool], ...] = (
    # Requests
    ("curl", Tool(("--oauth2-bearer", "--pass", "--proxy-pass", "-b", "--cookie"), ("-u", "--user", "-U", "--proxy-user", "-E", "--cert", "--proxy-cert"), before="fsSkLvgiGjlnNOqRaB#0123469Z", jars=("-b", "--cookie"))),
    ("wget", Tool((), ("--user",))),
    ("https?|xhs?", Tool((), ("-a", "--auth"))),
    ("https?|xhs?", Tool(("-a", "--auth"), only=("bearer",))),
    ("hey|vegeta|oha|bombardier", Tool((), ("-a",))),
    ("ab", Tool((), ("-A", "-P"))),
    ("siege|hydra|medusa|evil-winrm|crackmapexec|netexec|nxc|psexec(?:64)?|xfreerdp3?|wlfreerdp|rdesktop", Tool(("-p", "/p"), slashes=True)),
    # Databases and queues
    ("(?:mysql|mariadb|mydumper|myloader|mysqlsh|mytop|xtrabackup|percona)[\\w-]*", Tool(("-p",))),
    ("(?:mysql|mariadb)-?admin", Tool(places={"password": (1,)})),
    ("sqlcmd|bcp|osql|isql|tsql|ipmitool|mosquitto_(?:pub|sub|rr)|zip|unzip|zipcloak|ssh-keygen|ncftp\\w*|ipmi-\\w+", Tool(("-P", "-N", "-p"))),
    ("snowsql|vsql|nzsql|hdbsql|bteq|usql|mycli|mssql-cli|db2|cqlsh|mongo(?:sh|dump|restore|export|import|stat|top)?|rabbitmqadmin|twine|beeline|cypher-shell|nodetool|sstableloader|impala-shell|iredis|svn|osm", Tool(("-p", "-w", "-pw", "-pwd"))),
    ("(?:redis|valkey|keydb|dragonfly|kvrocks)[\\w-]*", Tool(("-a", "--pass"), named=("set", "hset", "SET", "HSET", "hmset", "HMSET", "getset", "setnx"))),
    ("etcdctl|solr|opensearch[\\w-]*|elasticsearch[\\w-]*|kibana[\\w-]*|http-client|mongocli", Tool((), ("-u", "--user"))),
    ("etcdctl|consul", Tool(named=("put",))),
    ("elasticsearch-users", Tool(("-p",))),
    ("rabbitmqctl", Tool(places={"add_user": (2,), "change_password": (2,), "authenticate_user": (2,)})),
    ("sentinel", Tool(places={"auth-pass": (2,)})),
    ("isql-v", Tool(places={"dba": (1,)})),
    ("influx", Tool(("-t",))),
    ("nats", Tool(("--password",))),
    ("healthcheck\\.sh", Tool(("--su-mysql",))),
    # Logins of machines and directories
    ("sshpass|kinit|plink|pscp|psftp|jconsole|mqsc", Tool(("-p", "-pw"))),
    ("expect|chpasswd|smbpasswd|useradd|usermod|adduser|add-user", Tool(("-p",))),
    ("ldap\\w+|ds(?:conf|ctl|idm)", Tool(("-w", "-s"))),
    ("kadmin(?:\\.local)?|addprinc|add_principal|cpw|change_password", Tool(("-w", "-pw"))),
    ("samba-tool", Tool(places={"create": (2,), "add": (2,)}, takes=("-H", "-U"), only=("user",))),
    ("mosquitto_passwd|htpasswd", Tool(places={**dict.fromkeys(_HTPASSWD, (3,)), **dict.fromkeys(_HTPASSWD_SHOWN, (2,))}, takes=("-C", "-r"))),
    ("snmp\\w+", Tool(("-A", "-X", "-c"))),
    ("smbclient|rpcclient|smbget|smbmap|winexe", Tool((), ("-U",), between="%")),
    ("smbclient", Tool(places={"": (2,)}, takes=("-U", "-W", "-c", "-p", "-I", "-L", "-D", "-A", "-m", "-n", "-t"))),
    ("net", Tool((), ("-U",), between="%", places={"user": (2,)}, slashes=True)),
    ("schtasks|signtool|cmdkey|wmic|psexec(?:64)?|sdelete|setspn|dism", Tool(("/rp", "/p", "/pass"), slashes=True)),
    ("knife|certutil", Tool(("-P", "-p"))),
    ("nmcli", Tool(places={"password": (1,), "wifi-sec.psk": (1,), "802-11-wireless-security.psk": (1,)})),
    ("wpa_passphrase", Tool(places={"": (2,)})),
    ("iwconfig|iw", Tool(places={"key": (1,)})),
    ("security", Tool(("-w", "-p", "-P"), only=("add-generic-password", "add-internet-password", "unlock-keychain", "create-keychain", "set-keychain-password", "import", "export"))),
    # Files and mail
    ("l?ftp", Tool((), ("-u",), between=",")),
    ("swaks", Tool(("-ap", "--auth-password"))),
    ("send[eE]mail", Tool(("-xp",))),
    ("openssl", Tool(("-k", "-K", "-passin", "-passout", "-pass"), places={"passwd": (1,)}, takes=("-salt", "-in"))),
    ("keytool|jarsigner", Tool(("-new",))),
    ("7z[azr]?|unrar|rar", Tool(("-p", "-hp"), attached=("-hp",))),
    ("qpdf", Tool(places={"--encrypt": (1, 2)})),
    ("pdftk", Tool(places={"user_pw": (1,), "owner_pw": (1,), "input_pw": (1,)})),
    ("pdf(?:totext|toppm|info|images|unite|tops)", Tool(("-upw", "-opw"))),
    ("gpg2?", Tool(("--passphrase",))),
    ("rclone", Tool(places={"secret_access_key": (1,), "pass": (1,), "obscure": (1,)})),
    ("mc|mcli", Tool(places={"set": (3, 4), "add": (3, 4)})),
    # Clouds, clusters and registries
    ("docker|podman|nerdctl|helm|oc|az|skopeo|crane|buildah|oras|regctl|ibmcloud|cf|argocd", Tool(("-p",), only=("login",))),
    ("skopeo|buildah|podman|crane|ctr|crictl", Tool((), ("--creds", "--src-creds", "--dest-creds", "--user", "-u"))),
    ("cf", Tool(places={"auth": (2,)})),
    ("az", Tool(("--value",), only=("secret",))),
    ("kubectl|oc", Tool(("-p", "--patch"), only=("patch",), also=("secret", "secrets"))),
    ("gcloud", Tool(places={"activate-refresh-token": (2,)})),
    ("gh|glab|doctl|flyctl|linode-cli|hcloud|civo|scw", Tool(("-t",))),
    ("gh", Tool(("-b", "--body"), only=("secret", "variable"))),
    ("glab", Tool(("-v", "--value"), places={"set": (2,), "update": (2,)}, takes=("-s", "--scope", "-R", "--repo", "-g", "--group", "-t", "--type", "-d"), only=("variable",))),
    ("fly(?:ctl)?|doppler|heroku|railway|netlify|supabase|wrangler|convex|turso", Tool(pairs={"set": _ANY, "import": _ANY}, only=("secret", "secrets"))),
    ("consul|serf|nomad", Tool(("-encrypt", "-token"))),
    ("virsh", Tool(("--base64",), places={"secret-set-value": (2,)})),
    ("ceph", Tool(places={"ac-user-create": (2,), "ac-user-set-password": (2,)})),
    ("ceph", Tool(places={"set": (2,), "put": (2,)}, only=("config-key",))),
    ("grafana(?:-cli|-server)?", Tool(places={"reset-admin-password": (1,)}, takes=("--homepath", "--config"))),
    # Secrets themselves
    ("vault|bao", Tool(places={"login": (1,), "unwrap": (1,), "unseal": (1,), "revoke": (1,), "lookup": (1,), "renew": (1,)}, pairs={"put": _ANY, "patch": _ANY, "write": ("secret/", "secrets/", "kv/", "kv-v1/", "kv-v2/", "cubbyhole/")})),
    ("sops", Tool((), ("--set",), between="] ", places={"set": (3,)})),
    ("ansible-vault", Tool(places={"encrypt_string": (1,)}, takes=("--name", "-n", "--stdin-name", "--vault-id", "--vault-password-file", "--encrypt-vault-id", "--output"))),
    ("bw", Tool(places={"unlock": (1,), "login": (2,)}, takes=("--passwordenv", "--passwordfile", "--method", "--code"))),
    # Packages and builds
    ("dotnet|nuget", Tool(("-k", "--api-key"), only=("push",))),
    ("nuget|dotnet", Tool(("-p", "--password"), only=("source",))),
    ("poetry", Tool(("-p",), only=("publish",))),
    ("dotnet", Tool(places={"set": (2,)}, takes=("-p", "--project", "--id", "-c", "--configuration"), only=("user-secrets",))),
    ("snyk", Tool(places={"auth": (1,)})),
    ("ngrok", Tool(places={"authtoken": (1,), "add-authtoken": (1,)})),
    ("cloudflared", Tool(places={"install": (1,)}, only=("service",))),
    ("couchbase-cli|cbbackupmgr|cbq|cbimport|cbexport", Tool(("-p", "--password"))),
    ("p4d?", Tool(("-P",))),
    ("codecov", Tool(("-t",))),
)  # fmt: skip
"""A tool's name, as an expression, and what its words mean; a tool may have several of these."""

_READS = (
    r"\blogin\b|-stdin\b|--with-token|\bchpasswd\b|\bsudo\s+-\w*S|\bpasswd\b|\bkinit\b|\bcryptsetup\b|\bsmbpasswd\b|\bsecrets?\s+(?:create|set|put|add|import|update)\b"
    r"|\bcreate\s+secret\b|\buser-secrets\s+set\b|keystore\s+add\b|\bpass\s+insert\b|\benv\s+add\b|\bvariable\s+set\b|\bsecret-tool\s+store\b|\bgpg\b[^\n|<]{0,120}--passphrase-fd|\bsystemd-creds\s+encrypt\b|\bkeyctl\s+padd\b"
)
"""Commands that read a secret from what is given to them, by a pipe or in the line itself."""
_A_WORD = r"""'[^'\n]*'|\"[^\"\n]*\"|[^\s|'\"]+"""
PIPED = rf"\b(?:echo\s+(?:-[neE]+\s+)*|printf\s+(?:--\s+)?(?:['\"]?(?:%s|%b)(?:\\n)?['\"]?\s+)?)(?P<secret>{_A_WORD})\s*\|\s*[^|\n]*(?:{_READS})"
HERE = rf"(?:{_READS})[^\n|<]{{0,200}}<<<\s*"
