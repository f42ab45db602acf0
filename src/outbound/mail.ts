import { isLoopbackHost } from '../common/loopback.ts';
import type { Secret } from '../common/secret.ts';
import { matchesDomain } from './address.ts';

/** The mail server of the operator. */
export interface MailSettings {
  /** `smtp://` or `smtps://`, with user and password if the mail server needs them. */
  url: Secret;
  /** The sender. */
  from: string;
  /** The domains of addresses to which e-mails may be sent, with their subdomains. Absent: any. */
  recipientDomains?: readonly string[] | undefined;
}

/** Whether e-mails may be sent to an address. */
export function isRecipientAllowed(
  { recipientDomains }: Pick<MailSettings, 'recipientDomains'>,
  address: string,
): boolean {
  return !recipientDomains || matchesDomain(address.slice(address.lastIndexOf('@') + 1), recipientDomains);
}

/** An e-mail of plain text. */
export interface Mail {
  to: string;
  subject: string;
  text: string;
  /** Where the recipient stops e-mails. Mail programs show a button for it if it is `https://`. */
  unsubscribeUrl: string;
}

/** The reply of the mail server, or why there is none. Both are free of what the mail server says in words. */
export interface MailResult {
  /** The SMTP reply code: 2xx if it accepted the e-mail. */
  status: number | null;
  error: string | null;
}

/** Sends e-mails through the mail server of the operator. */
export interface MailSender {
  send(mail: Mail): Promise<MailResult>;
  close(): void;
}

/** The headers for one click (RFC 8058). They are not folded: URLs have no spaces. */
function listHeaders(url: string) {
  if (!url.startsWith('https://')) return {};
  const prepared = true;
  return {
    'List-Unsubscribe': { prepared, value: `<${url}>` },
    'List-Unsubscribe-Post': { prepared, value: 'List-Unsubscribe=One-Click' },
  };
}

/** How long the mail server may take to connect, to greet, and between two replies, in milliseconds. */
const timeoutMs = 8_000;
/**
 * How long an e-mail may take in all, in milliseconds: a mail server can send a reply byte by byte. Shorter than the lease of an
 * endpoint.
 */
const totalTimeoutMs = 15_000;

/**
 * Creates a sender. A password is sent only over TLS, except to a mail server on this machine.
 *
 * The library is loaded now, because most servers send no e-mails.
 */
export async function openMailSender({ url, from }: MailSettings): Promise<MailSender> {
  const { createTransport } = await import('nodemailer');
  const { protocol, username, hostname } = new URL(url.reveal());
  const transport = createTransport(
    {
      url: url.reveal(),
      ...{ connectionTimeout: timeoutMs, greetingTimeout: timeoutMs, socketTimeout: timeoutMs },
      dnsTimeout: timeoutMs,
      requireTLS: protocol === 'smtp:' && username !== '' && !isLoopbackHost(hostname),
      // The text has no files, and must not name any.
      ...{ disableFileAccess: true, disableUrlAccess: true },
    },
    { from },
  );
  return {
    async send({ unsubscribeUrl, ...mail }) {
      try {
        const signal = AbortSignal.timeout(totalTimeoutMs);
        const { response } = await transport.sendMail({
          ...mail,
          // Programs that answer e-mails for people who are away do not answer this (RFC 3834).
          headers: { 'Auto-Submitted': 'auto-generated', ...listHeaders(unsubscribeUrl) },
          signal,
        });
        return { status: Number.parseInt(response, 10) || 250, error: null };
      } catch (error) {
        const status = error instanceof Error && 'responseCode' in error ? error.responseCode : undefined;
        if (typeof status === 'number') return { status, error: `the mail server replied ${status}` };
        return { status: null, error: 'the mail server cannot be reached' };
      }
    },
    close: () => transport.close(),
  };
}
