import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { SMTPServer } from 'smtp-server';
import { until } from './process.ts';

/** An e-mail that the server has accepted. */
export interface ReceivedMail {
  to: string[];
  subject: string;
  /** The header, or null. */
  header(name: string): string | null;
  /** The decoded text. */
  text: string;
  user: string | undefined;
}

/** A mail server. */
export interface MailServer extends AsyncDisposable {
  /** `smtp://`, with a user and a password. */
  url: string;
  received: ReceivedMail[];
  /** Replies with this code to every e-mail; undefined accepts them. */
  refuseWith(code: number | undefined): void;
  /** Replies nothing to e-mails to somebody, until the returned function is called; then it refuses them. */
  hold(address: string): () => void;
  /** Waits for a number of e-mails. */
  waitFor(count: number): Promise<ReceivedMail[]>;
}

/** The password of `MailServer.url`. */
export const mailPassword = 'a-planted-mail-password';

export async function startMailServer(): Promise<MailServer> {
  const received: ReceivedMail[] = [];
  let refusal: number | undefined;
  const held = new Map<string, (() => void)[]>();
  const server = new SMTPServer({
    authMethods: ['PLAIN'],
    hideSTARTTLS: true,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _, done) =>
      password === mailPassword ? done(null, { user: username }) : done(new Error('wrong password')),
    onData: async (stream, { envelope, user }, done) => {
      const mail = await text(stream);
      const refuse = () => done(Object.assign(new Error('refused'), { responseCode: refusal ?? 451 }));
      const waiting = envelope.rcptTo.map(({ address }) => held.get(address)).find((each) => each);
      if (waiting) return void waiting.push(refuse);
      if (refusal) return refuse();
      const [head = '', ...body] = mail.split('\r\n\r\n');
      received.push({
        to: envelope.rcptTo.map(({ address }) => address),
        header: (name) => new RegExp(`^${name}: (.*)\r$`, 'im').exec(`${head}\r`)?.[1] ?? null,
        subject: /^Subject: (.*)$/m.exec(head)?.[1] ?? '',
        text: decodeQuotedPrintable(body.join('\r\n\r\n')),
        user,
      });
      done();
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  const { port } = server.server.address() as AddressInfo;
  return {
    url: `smtp://sender:${mailPassword}@127.0.0.1:${port}`,
    received,
    refuseWith: (code) => {
      refusal = code;
    },
    hold: (address) => {
      const waiting: (() => void)[] = [];
      held.set(address, waiting);
      return () => {
        held.delete(address);
        for (const refuse of waiting) refuse();
      };
    },
    waitFor: (count) =>
      until(`the mail server has ${count} e-mails`, () => (received.length >= count ? received : undefined)),
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** Decodes the encoding that nodemailer chooses for long lines. Plain lines stay as they are, if they have no `=`. */
function decodeQuotedPrintable(encoded: string): string {
  const bytes = encoded
    .replaceAll('=\r\n', '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString().replaceAll('\r\n', '\n').trim();
}
