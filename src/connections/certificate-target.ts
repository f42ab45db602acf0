/** Builds the `targetName` of a warning of a certificate. */
export function toCertificateTarget(origin: string, validTo: Date): string {
  return `${origin} ${validTo.toISOString()}`;
}

/** Parses it. `validTo`: in RFC 3339. */
export function parseCertificateTarget(targetName: string | null | undefined): {
  host: string;
  validTo: string;
} {
  const [host = '', validTo = ''] = targetName?.split(' ') ?? [];
  return { host, validTo };
}
