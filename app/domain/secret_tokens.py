"""Secrets that are known by their own form: the tokens of providers, hashes of passwords, keys, and long words made by chance.

Used by `app.domain.secret_classes`. The prefixes and lengths are those that the providers and public lists of secret scanners
document. Pure.
"""

from __future__ import annotations

TOKENS = (
    # Chat and mail
    r"\bxox[a-z](?:\.xox[a-z])?-[\w-]{8,}|\bxapp-[\w-]{8,}|\bSG\.[\w-]{12,}\.[\w-]{12,}|\bkey-[0-9A-Za-z]{32}\b|\bAC[0-9a-f]{32}(?::[\w-]{8,}|[\s,;/|]{1,4}[0-9a-f]{32}\b)"
    r"|\bSK[0-9a-fA-F]{32}\b|\bxkeysib-[\w-]{40,}|\bxsmtpsib-[\w-]{40,}|\b[0-9a-f]{32}-us\d{1,2}\b|\bre_[A-Za-z0-9]\w{15,}|\bmfa\.[\w-]{20,}"
    r"|\brnd_[A-Za-z0-9]{28,}|\b(?:bot)?\d{8,10}:AA[\w-]{30,}|\b[MNO][A-Za-z\d_-]{23,27}\.[\w-]{6,7}\.[\w-]{27,}|\bpubkey-[0-9a-f]{32}\b"
    # Code, packages and builds
    r"|\bgh[opusr]_\w{20,}|\bv1\.[0-9a-f]{40}\b|\bgithub_pat_\w{20,}|\bgl(?:pat|dt|rt|ptt|soat|cbt|ft|oas|imt|agent|ffct|rtr|wt)-[\w.-]{16,}|\bGR1348941[\w-]{16,}"
    r"|\bATATT3[\w=-]{20,}|\bATCTT3[\w=-]{20,}|\bATBB[A-Za-z0-9]{20,}|\bBBDC-[\w+/-]{30,}|\bpypi-[\w-]{16,}|\bnpm_\w{20,}|\brubygems_\w{20,}|\boy2[a-z0-9]{43}\b"
    r"|\bdckr_(?:pat|oat)_[\w-]{16,}|\bAKC[pd]?[A-Za-z0-9]{8,}[A-Za-z0-9]{30,}|\bcmVmd[A-Za-z0-9+/=]{50,}|\bjfrog\.[\w-]{20,}|\bsgp_\w{20,}|\bsqp_\w{20,}|\bsq[au]_\w{20,}"
    r"|(?i:\bccipat_\w{20,})|\bbkua_\w{20,}|\blip_\w{20,}|\blin_(?:api|oauth)_\w{20,}|\bfigd_[\w-]{20,}|\bntn_\w{20,}|\bsecret_[A-Za-z0-9]{40,}|\bperm:[\w=.-]{20,}|\bpat[A-Za-z0-9]{14}\.[A-Za-z0-9]{20,}"
    r"|\bPMAK-[\w-]{20,}|\bCFPAT-[\w-]{20,}|\bpul-[0-9a-f]{40}\b|\bpnu_\w{20,}|\btfp_\w{20,}|\btfr_\w{20,}|[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{20,}|\b1/\d{4,}:[0-9A-Za-z]{20,}"
    # Clouds, hosts and networks
    r"|\b(?:(?:AKIA|ASIA|ABIA|ACCA|AGPA)[A-Z0-9]{16}|A(?:KIA|SIA|BIA|GPA)[A-Za-z0-9]{16})\b(?:[:|][^\s\"'`,;)]{8,}|[\"']?(?:[,;/ \t]{1,4}|\r?\n[ \t]*)[\"']?[A-Za-z0-9+/]{40})?|\bABSK[A-Za-z0-9+/=]{30,}|\bbedrock-api-key-[\w+/=-]{20,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{12,}|\bGOCSPX-[\w-]{20,}|\b1//0[\w-]{20,}"
    r"|\bLTAI[A-Za-z0-9]{12,}|\bdo[opr]_v1_\w{32,}|\bhv[sbr]\.[\w-]{20,}|\bs\.[A-Za-z0-9]{24}\b|\bFlyV1 f[mo]\d_[\w+/=,-]{20,}|\bfm[12][ar]?_[\w+/=,-]{30,}|\bfo1_[\w-]{30,}|\bnf[pc]_\w{20,}|\bvercel_\w{16,}|\bvcp_\w{20,}"
    r"|\bnapi_[a-z0-9]{20,}|\brdme_\w{20,}|\bCLOJARS_[0-9a-f]{40,}|\b[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}|\btskey-[\w-]{16,}|\bcfut_\w{20,}|\bcfat_\w{20,}|\bpscale_(?:tkn|pw|oauth)_[\w.-]{20,}|\bsb[ps]_\w{20,}|\bsb_secret_[\w-]{16,}|\bdp\.(?:pt|st|ct|scim|audit|sa)\.[\w.-]{20,}|\bops_eyJ[\w-]{20,}|\bwandb_v\d_\w{20,}"
    r"|\bdapi[0-9a-zA-Z]{32}\b|\bdapi[0-9a-f]{32}-\d\b|\baio_\w{24,}|\bubi_\w{20,}|\bhub-[A-Za-z0-9]{30,}|\btly-\w{20,}|\bSWMTKN-1-[\w-]{20,}|\bK10[0-9a-f]{50,}::\S+|\bexp[rt]_\w{30,}"
    # Watching
    r"|\bgl(?:sa|c)_[\w=+/-]{20,}|\bNR(?:AK|II|IQ|RA|JS)-[\w-]{20,}|\b[0-9a-f]{32,36}NRAL\b|\bsntry[su]_[\w=+/]{20,}|\bph[cx]_\w{20,}|\bdt0[a-z]\d{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}\b"
    # Money and shops
    r"|\b[srp]k_(?:live|test|prod)_\w{10,}|\bwhsec_[\w+/=]{16,}|\bshp(?:at|ca|pa|ss)_[0-9A-Za-z]{16,}|\bsq0[a-z]{3}-[\w-]{20,}|\bEAA[A-Za-z0-9_-]{30,}|\baccess_token\$(?:production|sandbox)\$\S{16,}"
    r"|\brzp_(?:live|test)_\w{12,}|\bEZ[AT]K[A-Za-z0-9]{40,}|\bshippo_(?:live|test)_\w{20,}|\bduffel_(?:live|test)_[\w-]{20,}|\bPAT-[A-Za-z0-9]{24,}|\bFLW(?:PUB|SEC)K(?:_TEST)?-[\w-]{12,}"
    # Models
    r"|\bsk-[\w-]{16,}|\bgsk_\w{20,}|\bhf_[A-Za-z0-9]{16,}|\bapi_org_[A-Za-z]{30,}|\blsv2_(?:pt|sk)_\w{16,}|\br8_\w{20,}|\bpcsk_\w{16,}|\bxai-\w{20,}|\btvly-[\w-]{12,}|\bnvapi-[\w-]{20,}|\bpplx-\w{20,}|\bfw_\w{20,}|\bcsk-\w{20,}|\bcr_[A-Za-z0-9]{30,}"
    # Keys and what is signed
    r"|\bAGE-(?:SECRET-KEY(?:-PQ)?|PLUGIN-[A-Z0-9]+)-1\w{20,}|\beyJ[\w-]{8,}\.[\w-]*\.[\w-]*(?:\.[\w-]*){0,2}|\beyJ[\w-]{8,}(?:[\w.-]|\\{1,8}\r?\n[ \t]*)*\.[\w-]{16,}|\beyJ(?:rIjoi|hdXRocyI6)[\w+/=-]{20,}|\beyJ(?:hbGci|0eXAi|raWQi|zdWIi|pc3Mi|hdWQi|pYXQi|leHAi)[\w.-]{12,}|\bENC\[[^\]\n]*\]?|\bv1\.0-[0-9a-f]{24}-[\w-]{20,}"
    # Hashes of passwords
    r"|\$(?:apr1|1|2[abxy]?|5|6|7|y|gy|argon2(?:id|i|d)|pbkdf2[\w-]*|scrypt|sha1|bcrypt[\w-]*)\$[^\s\"']{8,}|\{(?:S?SHA\d{0,3}|S?MD5|CRYPT|PBKDF2[^}\s]*|ARGON2)\}[^\s\"']{8,}|\bSCRAM-SHA-\d+\$\d+:[^\s\"']+|\bmd5[0-9a-f]{32}\b"
    r"|(?i:\b(?:pbkdf2(?:_sha\d{1,3}|:sha\d{1,3}:\d{1,9})?|scrypt(?::\d{1,9}){0,3}|bcrypt(?:_sha256)?|argon2|md5|sha1|sha256|sha512)\$)[^\s\"'\\)]{16,}"
    # Private keys in Base64, and keys of storage accounts
    r"|\bLS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJ|BFQyBQUklW|BEU0EgUFJJ|BPUEVOU1NI|BFTkNSWVBU)[\w+/=-]*|\b[A-Za-z0-9+/]{86}=="
)
LONG_WORD = r"\b(?P<secret>[a-z0-9_+-]{0,80}[A-Z][A-Za-z0-9_+-]{20,}={0,2})"
"""A word that may have been made by chance; `well_mixed` decides."""
