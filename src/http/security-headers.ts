/** Forbid caching, content sniffing, scripts and embedding. Pages set a Content-Security-Policy of their own. */
const commonHeaders = {
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

/** For one year. Without `includeSubDomains`, because other hosts of the domain are not part of this server. */
const tlsHeaders = { 'strict-transport-security': 'max-age=31536000' };

/** The headers of all responses; names in lower case. */
export function securityHeaders({ isOverTls }: { isOverTls: boolean }): Readonly<Record<string, string>> {
  return { ...commonHeaders, ...(isOverTls && tlsHeaders) };
}
