import { type FilterQuery, raw } from '@mikro-orm/core';
import { z } from 'zod';
import { withForbiddenAudit } from '../audit/record-refusals.ts';
import {
  createListOrder,
  cursorSchema,
  decodeCursor,
  type Page,
  type PageOptions,
  toPage,
} from '../common/pagination.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { Caller } from '../identity/caller.ts';
import { endpointNotFound, requireReading, visibleEndpoints } from './endpoints.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';
import { WebhookMessage, type WebhookMessageStatus } from './webhook-message.entity.ts';

const newestFirst = createListOrder(
  'webhookMessages',
  ({ seq }: WebhookMessage) => seq,
  z.int().min(0).max(2_147_483_647),
);

/** The schema of a cursor of the list. */
export const webhookMessageCursor = cursorSchema(newestFirst);

/**
 * Lists the messages of an endpoint with the log of their attempts, those of the newest events first.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `BAD_USER_INPUT` (the cursor)
 */
export async function listWebhookMessages(
  deps: ConnectionDeps,
  caller: Caller,
  endpointId: string,
  { first, after, status }: PageOptions & { status?: WebhookMessageStatus | null | undefined },
): Promise<Page<WebhookMessage>> {
  return withForbiddenAudit(deps, caller, { action: 'READ_WEBHOOKS', targetName: endpointId }, async () => {
    requireReading(caller);
    const { orgId } = caller;
    const em = deps.database.forOrganisation(orgId);
    if (!(await em.findOne(WebhookEndpoint, { id: endpointId, orgId, ...visibleEndpoints })))
      throw endpointNotFound();
    const messages = await em.find(
      WebhookMessage,
      {
        $and: [{ orgId, endpointId, ...(status && { status }) }, after == null ? {} : afterCursor(after)],
      },
      { orderBy: { seq: 'desc', id: 'desc' }, limit: first + 1 },
    );
    return toPage(newestFirst, messages, first);
  });
}

function afterCursor(cursor: string): FilterQuery<WebhookMessage> {
  const { key, id } = decodeCursor(newestFirst, cursor);
  return { [raw('("seq", "id") < (?, ?)', [key, id])]: [] };
}
