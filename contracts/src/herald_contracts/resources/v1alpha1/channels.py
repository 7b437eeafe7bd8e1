"""spec.channels: one bot on one chat platform each."""

from typing import ClassVar, Literal

from pydantic import Field, StrictBool, model_validator

from herald_contracts.resources.v1alpha1.schema import HttpUrl, Label, ReplyUrl, Resource, Rule, SecretRef


class Web(Resource):
    """A chat page that the gateway serves. Its session key is made for it."""

    title: str = Field(default="Herald", min_length=1, max_length=80, description="shown at the top of the page")


class Hmac(Resource):
    """Anything that can sign: HMAC-SHA256 over timestamp and raw body. Key of the Secret: `secret`."""

    secret_ref: SecretRef = Field(description="Secret with the key `secret`")
    reply_url: ReplyUrl = Field(alias="replyURL", description="where replies are posted, signed the same way")
    on_unknown: Literal["resend", "hold"] = Field(
        default="resend",
        description="when a post's outcome is unknown: resend under the same reply id, or hold and show it as unknown",
    )


class StandardWebhooks(Hmac):
    """standardwebhooks.com, both ways. Key of the Secret: `secret` (whsec_...)."""


class Feishu(Resource):
    """A Feishu or Lark app. Keys of the Secret: `app-secret`, `encrypt-key`, `verification-token`."""

    app_id: str = Field(
        pattern=r"^cli_[A-Za-z0-9]{4,64}$", max_length=68, description="App ID of the developer console"
    )
    secret_ref: SecretRef = Field(description="Secret with `app-secret`, `encrypt-key`, `verification-token`")
    base_url: HttpUrl = Field(
        default="https://open.feishu.cn", alias="baseURL", description="https://open.larksuite.com for Lark"
    )
    streaming: StrictBool = Field(default=True, description="show the reply while it is written, as a card that grows")


CHANNEL_TYPES = ("web", "hmac", "standardWebhooks", "feishu")
_COUNT = " + ".join(f"(has(self.{t}) ? 1 : 0)" for t in CHANNEL_TYPES)


class Channel(Resource):
    """One bot on one chat platform: a name and exactly one of the platforms."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(f"{_COUNT} == 1", f"exactly one of {', '.join(CHANNEL_TYPES)} is needed"),
    )

    name: Label = Field(description="part of its callback URL: /channels/<name>/events")
    web: Web | None = Field(default=None, description="a chat page that the gateway serves")
    hmac: Hmac | None = Field(default=None, description="anything that can sign with HMAC-SHA256")
    standard_webhooks: StandardWebhooks | None = Field(default=None, description="standardwebhooks.com, both ways")
    feishu: Feishu | None = Field(default=None, description="a Feishu or Lark app")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Channel":
        given = [t for t, v in zip(CHANNEL_TYPES, self._kinds(), strict=True) if v is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"exactly one of {', '.join(CHANNEL_TYPES)} is needed, found {found}")
        return self

    @property
    def type(self) -> str:
        """Which platform it is: one of CHANNEL_TYPES."""
        return next(t for t, v in zip(CHANNEL_TYPES, self._kinds(), strict=True) if v is not None)

    @property
    def secret(self) -> str | None:
        """Name of the Secret that a person writes for it; None where it needs none."""
        kind = self.hmac or self.standard_webhooks or self.feishu
        return kind.secret_ref.name if kind is not None else None

    def _kinds(self) -> tuple[Web | None, Hmac | None, StandardWebhooks | None, Feishu | None]:
        return (self.web, self.hmac, self.standard_webhooks, self.feishu)


# Keys that the Secret of each type must have.
SECRET_KEYS = {
    "hmac": ("secret",),
    "standardWebhooks": ("secret",),
    "feishu": ("app-secret", "encrypt-key", "verification-token"),
}
