"""How others are told to trust run tokens: what `runbooks identity show` prints.

Each text is a shell script that can be pasted as it is. Policies stand in it as files (`cat > NAME <<'END'`), in JSON
or YAML, so that a program can take them out, too. They pin issuer, audience and, by stage, the subjects: exactly these
runbooks, or with `Trusted.runbooks` empty whichever there are in this environment.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from runbooks_app.core.run_identity import ALGORITHM, STAGES, TOKEN_SECONDS, subject

AWS_LARGEST = 2048
"""Characters of a role's trust policy, without white space, unless AWS has raised the account's quota."""


@dataclass(frozen=True)
class Trusted:
    """Whom to trust: tokens of this issuer, for this audience, of these runbooks (by id) in this environment.

    `account` is the number of the AWS account or the Google Cloud project. `lifetime` is the longest, in seconds, that
    a credential is wanted for.
    """

    issuer: str
    jwks_uri: str
    environment: str
    runbooks: tuple[str, ...] = ()
    audience: str = ""
    account: str = ""
    lifetime: int = 900

    def subjects(self, stage: str) -> list[str]:
        """The subjects of a stage, exactly; none where any runbook is trusted."""
        return [subject(runbook, self.environment, stage) for runbook in self.runbooks]

    @property
    def by_hand(self) -> bool:
        """Whether the keys are published elsewhere than by the service."""
        return self.jwks_uri != f"{self.issuer}/.well-known/jwks.json"


def aws(of: Trusted) -> str:
    """An OpenID provider in IAM, and a role for each stage."""
    audience, account = of.audience or "sts.amazonaws.com", of.account or "111122223333"
    place = urlsplit(of.issuer)
    provider = place.netloc + place.path

    def role(stage: str) -> str:
        condition: dict[str, dict[str, Any]] = {"StringEquals": {f"{provider}:aud": audience}}
        if of.runbooks:
            condition["StringEquals"][f"{provider}:sub"] = of.subjects(stage)
        else:
            # The star stands for a UUID: nothing else is ever signed in its place.
            condition["StringLike"] = {f"{provider}:sub": f"runbook:*:env:{of.environment}:stage:{stage}"}
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{provider}"},
                    # Tokens bring session tags along: run_id, runbook_id, stage, environment, proposal_id.
                    "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
                    "Condition": condition,
                }
            ],
        }
        size = len(json.dumps(policy, separators=(",", ":")))
        told = "" if size <= AWS_LARGEST else f"# {size} characters: more than IAM's usual {AWS_LARGEST}. Name fewer.\n"
        name = f"runbooks-{stage}"
        return (
            told
            + _json(f"{name}.trust.json", policy)
            + f"aws iam create-role --role-name {name} --assume-role-policy-document file://{name}.trust.json\n"
        )

    return _script(
        f"# Replace {account} by your account's number, if it is not that." if not of.account else "",
        f"aws iam create-open-id-connect-provider --url {_quoted(of.issuer)} --client-id-list {_quoted(audience)}\n",
        *map(role, STAGES),
        "# Then give each role what it may do. runbooks-diagnose must only read.",
    )


def gcp(of: Trusted) -> str:
    """A workload identity pool with one provider, and a service account for each stage."""
    project = of.account or "123456789012"
    pool = f"projects/{project}/locations/global/workloadIdentityPools/runbooks"
    audience = of.audience or f"https://iam.googleapis.com/{pool}/providers/runbooks"
    condition = f'assertion.environment == "{of.environment}"'
    if of.runbooks:
        known = [name for stage in STAGES for name in of.subjects(stage)]
        condition += f" && assertion.sub in {json.dumps(known)}"
    mapping = {
        "google.subject": "assertion.sub",
        "attribute.stage": "assertion.stage",
        "attribute.runbook": "assertion.runbook_id",
        "attribute.run": "assertion.run_id",
    }
    create = {
        "--location": "global",
        "--workload-identity-pool": "runbooks",
        "--issuer-uri": of.issuer,
        "--allowed-audiences": audience,
        "--attribute-mapping": ",".join(f"{name}={value}" for name, value in mapping.items()),
        "--attribute-condition": condition,
    }

    def account(stage: str) -> str:
        member = f"principalSet://iam.googleapis.com/{pool}/attribute.stage/{stage}"
        return (
            f"gcloud iam service-accounts create runbooks-{stage}\n"
            "gcloud iam service-accounts add-iam-policy-binding"
            f' "runbooks-{stage}@$(gcloud config get project).iam.gserviceaccount.com" \\\n'
            f"    --role roles/iam.workloadIdentityUser --member {_quoted(member)}\n"
        )

    return _script(
        f"# Replace {project} by your project's number, if it is not that." if not of.account else "",
        "gcloud iam workload-identity-pools create runbooks --location global",
        "gcloud iam workload-identity-pools providers create-oidc runbooks \\\n    "
        + " \\\n    ".join(f"{name} {_quoted(value)}" for name, value in create.items())
        + "\n",
        *map(account, STAGES),
        "# Then give each service account what it may do. runbooks-diagnose must only read.",
    )


def vault(of: Trusted) -> str:
    """The JWT method, with a role and a policy for each stage. OpenBao takes the same (`bao` for `vault`)."""
    keys = {"jwks_url": of.jwks_uri} if of.by_hand else {"oidc_discovery_url": of.issuer}

    def role(stage: str) -> str:
        name = f"runbooks-{stage}"
        bound: dict[str, Any] = {"environment": of.environment, "stage": stage}
        if of.runbooks:
            bound["sub"] = of.subjects(stage)
        settled = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [of.audience or "vault"],
            "bound_claims_type": "string",
            "bound_claims": bound,
            "claim_mappings": {claim: claim for claim in ("run_id", "runbook_id", "stage")},
            # Such a token can be taken back with all that was read by it; a batch token cannot.
            "token_type": "service",
            "token_policies": [name],
            "token_ttl": of.lifetime,
            "token_max_ttl": of.lifetime,
        }
        # Leases are ended by name, so that it is known that they are; it has no names but those of its own.
        policy = {f"database/creds/{name}": ["read"], "sys/leases/revoke": ["update"]}
        return (
            _json(
                f"{name}.policy.json",
                {"path": {path: {"capabilities": may} for path, may in policy.items()}},
            )
            + f"vault policy write {name} {name}.policy.json\n"
            + _json(f"{name}.role.json", settled)
            + f"vault write auth/jwt/role/{name} @{name}.role.json\n"
        )

    return _script(
        "vault auth enable jwt",
        _json("runbooks.config.json", {**keys, "bound_issuer": of.issuer, "jwt_supported_algs": [ALGORITHM]})
        + "vault write auth/jwt/config @runbooks.config.json\n",
        "# Replace database/creds/… by the paths that the stage may read.",
        *map(role, STAGES),
    )


def kubernetes(of: Trusted) -> str:
    """Structured authentication for the API server, and RBAC for a group for each stage."""
    rules = [f"  - claim: environment\n    requiredValue: {json.dumps(of.environment)}"]
    if of.runbooks:
        known = [name for stage in STAGES for name in of.subjects(stage)]
        rules.append(
            f"  - expression: {json.dumps(f'claims.sub in {json.dumps(known)}')}\n"
            "    message: this runbook is not trusted here"
        )
    authentication = f"""\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: {json.dumps(of.issuer)}
    audiences:
    - {json.dumps(of.audience or "kubernetes")}
  claimValidationRules:
{chr(10).join(rules)}
  claimMappings:
    username:
      claim: sub
      prefix: "runbooks:"
    groups:
      claim: stage
      prefix: "runbooks:"
"""
    return _script(
        "# For kube-apiserver --authentication-config. Before Kubernetes 1.34 write v1beta1 (from 1.30).",
        _file("authentication.yaml", authentication),
        "# A diagnosis reads what `view` shows, no secrets. Replace the rules of a remediation by yours.",
        _file("runbooks-rbac.yaml", _RBAC) + "kubectl apply -f runbooks-rbac.yaml\n",
    )


_RBAC = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: runbooks-diagnose
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: "runbooks:diagnose"
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: view
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: runbooks-remediate
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [apps]
  resources: [deployments, deployments/scale]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: runbooks-remediate
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: "runbooks:remediate"
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: runbooks-remediate
"""


def token_exchange(of: Trusted) -> str:
    """What any other system has to hold a token against, as a token endpoint does (RFC 8693)."""
    trusted = {
        "issuer": of.issuer,
        "jwks_uri": of.jwks_uri,
        "algorithms": [ALGORITHM],
        "audience": of.audience or "https://sts.example.com",
        "longest": TOKEN_SECONDS,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "stages": {
            stage: {"claims": {"environment": of.environment, "stage": stage}, "subjects": of.subjects(stage) or "any"}
            for stage in STAGES
        },
    }
    return _script(
        "# For a token endpoint (RFC 8693, grant urn:ietf:params:oauth:grant-type:token-exchange), or whatever else\n"
        "# verifies tokens: signature by a key of jwks_uri with one of these algorithms and no other; iss, aud and\n"
        "# sub equal to these, letter by letter; exp and nbf. Which subjects may have which scope is yours to say.",
        _json("runbooks.trust.json", trusted),
    )


TARGETS: Mapping[str, Callable[[Trusted], str]] = {
    "aws": aws,
    "gcp": gcp,
    "vault": vault,
    "kubernetes": kubernetes,
    "token-exchange": token_exchange,
}
"""What `runbooks identity show` can explain, by name."""


def _quoted(text: str) -> str:
    return shlex.quote(text)


def _script(*parts: str) -> str:
    return "\n".join(filter(None, parts)).rstrip("\n") + "\n"


def _json(name: str, content: Mapping[str, Any]) -> str:
    return _file(name, json.dumps(content, indent=2) + "\n")


def _file(name: str, content: str) -> str:
    return f"cat > {name} <<'END'\n{content}END\n"
