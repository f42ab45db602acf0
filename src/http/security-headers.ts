/**
 * What every answer tells a browser: to keep nothing, to guess no type, to run nothing, and to let no other page near.
 * A page that is meant to be looked at brings a policy of its own.
 */
const always = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': ['camera', 'display-capture', 'geolocation', 'microphone', 'payment', 'serial', 'usb']
    .map((feature) => `${feature}=()`)
    .join(', '),
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

/** For a year, to be asked over TLS only. Of other names in the same domain it says nothing: they are not ours. */
const overTlsOnly = { 'strict-transport-security': 'max-age=31536000' };

/** The headers that all answers have, by their names in lower case. */
export function securityHeaders({ isOverTls }: { isOverTls: boolean }): Readonly<Record<string, string>> {
  return { ...always, ...(isOverTls && overTlsOnly) };
}
