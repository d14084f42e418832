// How a receiver checks that an event came from here, by the Standard Webhooks specification.

const UNKNOWN = "whsec_…";

/** `secret`: known only when the webhook has just been made. */
export const verification = (url, secret = UNKNOWN) => ({
  Python: `import base64, hashlib, hmac, time

SECRET = "${secret}"


def verify(headers, body: bytes) -> None:
    """Raises ValueError unless Blab has signed this body in the last five minutes."""
    sent = headers["webhook-timestamp"]
    if abs(time.time() - int(sent)) > 300:
        raise ValueError("too old")
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{sent}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    given = [one.removeprefix("v1,").encode() for one in headers["webhook-signature"].split()]
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise ValueError("wrong signature")
`,
  JavaScript: `import { createHmac, timingSafeEqual } from "node:crypto";

const SECRET = "${secret}";

export function verify(headers, body) { // throws unless Blab has signed the body (a Buffer, as it came) in the last 5 min
  const sent = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(sent)) < 300)) throw new Error("too old");
  const key = Buffer.from(SECRET.replace("whsec_", ""), "base64");
  const signed = createHmac("sha256", key).update(\`\${headers["webhook-id"]}.\${sent}.\`).update(body);
  const expected = signed.digest();
  const given = headers["webhook-signature"].split(" ").map((one) => Buffer.from(one.replace("v1,", ""), "base64"));
  const fits = (one) => one.length === expected.length && timingSafeEqual(one, expected);
  if (!given.some(fits)) throw new Error("wrong signature");
}
`,
  curl: `# plays Blab: your receiver must accept this, and refuse it with another SECRET
SECRET='${secret}'
URL='${url.replaceAll("'", "%27")}'
ID=evt_mine TIME=$(date +%s) BODY='{"type":"webhook.test","data":{}}'
KEY=$(printf %s "\${SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \\n')
SIGNATURE=$(printf %s "$ID.$TIME.$BODY" |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | base64)
curl -i "$URL" -H 'Content-Type: application/json' -H "webhook-id: $ID" \\
  -H "webhook-timestamp: $TIME" -H "webhook-signature: v1,$SIGNATURE" -d "$BODY"
`,
});
