import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, HttpError } from '../common/errors.ts';
import { currentRequest, type Logger } from '../common/log.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import {
  findSubscription,
  hasUnsubscribed,
  type Subscription,
  setUnsubscribed,
} from '../webhooks/unsubscribe.ts';
import { describeProblem } from './problem.ts';

/** The dependencies of the page for unsubscribing. */
export interface UnsubscribePageOptions {
  connections: ConnectionDeps;
  log: Logger;
}

const headers = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
};

/**
 * Creates the handler of the links in e-mails with which their recipients stop them. GET shows a page, because mail servers follow links.
 * POST stops the e-mails, also one by a mail program (RFC 8058), and with the query `?resume` lets the address get them again.
 */
export function createUnsubscribePage({ connections, log }: UnsubscribePageOptions) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const { method, url = '' } = request;
      const record = currentRequest.getStore();
      if (record) record.operation = `${method} /unsubscribe/:orgId/:link`;
      await connections.limits.checkUnauthenticated(record?.address);
      if (method !== 'GET' && method !== 'HEAD' && method !== 'POST') {
        throw new HttpError(405, 'BAD_USER_INPUT', 'Use GET or POST.', {
          headers: { allow: 'GET, HEAD, POST' },
          remedy: 'Use GET or POST.',
        });
      }
      await connections.scheduler.waitForTurn('');
      const subscription = await findSubscription(connections, url);
      if (!subscription)
        throw new AppError('NOT_FOUND', 'The link is not valid.', {
          remedy: 'Use the whole link of the newest e-mail.',
        });
      if (method === 'POST') await setUnsubscribed(connections, subscription, !url.endsWith('?resume'));
      const { orgId, address } = subscription;
      const page = buildPage(subscription, await hasUnsubscribed(connections, orgId, address));
      response.writeHead(200, headers).end(method === 'HEAD' ? undefined : page);
    } catch (error) {
      const { status, headers: more, body } = describeProblem(error, log);
      response
        .writeHead(status, { ...more, 'content-type': 'text/plain; charset=utf-8' })
        .end(`${[body.title, body.detail].filter(Boolean).join(': ')}\n`);
    }
  };
}

function buildPage({ address }: Subscription, isUnsubscribed: boolean): string {
  const shown = `<strong>${escapeHtml(address)}</strong>`;
  const [text, action, button] = isUnsubscribed
    ? [`${shown} gets no e-mails of this organisation.`, '?resume', 'Get e-mails again']
    : [`${shown} gets e-mails of this organisation about its connections.`, '?', 'Stop these e-mails'];
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>E-mails of App Connections</title></head>
<body><main><h1>E-mails of App Connections</h1>
<p>${text}</p>
<form method="post" action="${action}"><button>${button}</button></form>
</main></body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
