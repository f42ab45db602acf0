import { hash } from 'node:crypto';
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

const style = `:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}
main{max-width:40rem;margin:0 auto;padding:2rem 1rem}
h1{font-size:1.5rem;line-height:1.25}
p{overflow-wrap:anywhere}
button{font:inherit;padding:.5rem 1rem}`;

const styleSource = `'sha256-${hash('sha256', style, 'base64')}'`;
const headers = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; style-src ${styleSource}; form-action 'self'; frame-ancestors 'none'`,
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
      const page = buildPage(describeState(subscription, await hasUnsubscribed(connections, orgId, address)));
      response.writeHead(200, headers).end(method === 'HEAD' ? undefined : page);
    } catch (error) {
      const { status, headers: more, body } = describeProblem(error, log);
      const page = buildPage(
        [body.detail, body.remedy]
          .filter((text) => text !== undefined)
          .map(toParagraph)
          .join('\n'),
      );
      response.writeHead(status, { ...more, ...headers }).end(page);
    }
  };
}

function describeState({ address }: Subscription, isUnsubscribed: boolean): string {
  const shown = `<strong>${escapeHtml(address)}</strong>`;
  const [text, action, button] = isUnsubscribed
    ? [`${shown} gets no e-mails of this organisation.`, '?resume', 'Get e-mails again']
    : [`${shown} gets e-mails of this organisation about its connections.`, '?', 'Stop these e-mails'];
  return `<p>${text}</p>
<form method="post" action="${action}"><button>${button}</button></form>`;
}

function toParagraph(text: string): string {
  return `<p>${escapeHtml(text)}</p>`;
}

/** @param content HTML */
function buildPage(content: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>E-mails of App Connections</title>
<style>${style}</style></head>
<body><main><h1>E-mails of App Connections</h1>
${content}</main></body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
