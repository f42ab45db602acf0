import { z } from 'zod';
import { timestamp } from '../common/date-time.ts';
import { strictObject } from '../common/strict-object.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { uuid } from '../connections/input-schemas.ts';
import {
  deleteWebhookEndpoint,
  rotateWebhookSecret,
  updateWebhookEndpoint,
} from '../webhooks/change-endpoint.ts';
import { createWebhookEndpoint } from '../webhooks/create-endpoint.ts';
import { getWebhookEndpoint, listWebhookEndpoints } from '../webhooks/endpoints.ts';
import { createWebhookEndpointSchema, updateWebhookEndpointSchema } from '../webhooks/input-schemas.ts';
import { listWebhookMessages, webhookMessageCursor } from '../webhooks/messages.ts';
import { redeliverWebhookMessages, sendTestWebhook } from '../webhooks/redeliver.ts';
import { linkHeader } from './paginate.ts';
import { idPath, noQuery, pageQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';
import {
  endpointResponse,
  messageResponse,
  messageStatus,
  serializeEndpoint,
  serializeMessage,
} from './webhook-serializers.ts';

const path = '/api/v1/webhook-endpoints';
const one = z.object({ endpoint: endpointResponse });
const withSecret = z.object({
  endpoint: endpointResponse,
  secret: z.string().meta({
    description:
      'The secret with which receivers verify signatures, in the form of Standard Webhooks. Only this response contains it.',
  }),
});

const { shape: createRules } = createWebhookEndpointSchema;
const { shape: updateRules } = updateWebhookEndpointSchema;
const projectIds = z.array(uuid).nullish().pipe(createRules.projectIds);
const texts = {
  url: 'The address of the receiver: a public https address, or `mailto:` and an e-mail address for the format EMAIL.',
  description: 'A description of at most 256 characters.',
  eventTypes: 'The types of the events that it gets. Absent when it is created, or null: all.',
  projectIds:
    'The projects whose events it gets. Absent when it is created, or null: the whole organisation.',
};
const createBody = strictObject({
  url: createRules.url.meta({ description: texts.url }),
  description: createRules.description.meta({ description: texts.description }),
  eventTypes: createRules.eventTypes.meta({ description: texts.eventTypes }),
  projectIds: projectIds.meta({ description: texts.projectIds }),
  format: createRules.format.meta({ description: 'The form of the bodies. Absent: STANDARD.' }),
}).meta({ id: 'CreateWebhookEndpoint', description: 'The webhook endpoint to create.' });
const updateBody = strictObject({
  url: updateRules.url.meta({ description: texts.url }),
  description: updateRules.description.meta({ description: texts.description }),
  eventTypes: updateRules.eventTypes.meta({ description: texts.eventTypes }),
  projectIds: projectIds.meta({ description: texts.projectIds }),
  format: updateRules.format.meta({ description: 'The form of the bodies of later events.' }),
  enabled: updateRules.enabled.meta({
    description: 'Whether events are sent. An endpoint that is enabled again gets the events from then on.',
  }),
}).meta({
  id: 'UpdateWebhookEndpoint',
  description: 'The changes of a webhook endpoint. What is absent does not change.',
});

/** The routes of webhook endpoints and their messages. */
export function createWebhookRoutes(deps: ConnectionDeps): Route[] {
  return [...endpointRoutes(deps), ...messageRoutes(deps)];
}

function endpointRoutes(deps: ConnectionDeps): Route[] {
  return [
    route(
      {
        method: 'GET',
        path,
        id: 'listWebhookEndpoints',
        summary: 'Lists the webhook endpoints, at most 50, oldest first. Scope: webhooks:read.',
        schemas: { query: noQuery },
        response: z.object({ endpoints: z.array(endpointResponse) }),
      },
      async (_, caller) => {
        const endpoints = await listWebhookEndpoints(deps, caller);
        return { body: { endpoints: endpoints.map(serializeEndpoint) } };
      },
    ),
    route(
      {
        method: 'POST',
        path,
        id: 'createWebhookEndpoint',
        summary: 'Creates a webhook endpoint. It gets the events from now on. Scope: webhooks:write.',
        schemas: { query: noQuery, body: createBody },
        response: withSecret,
        codes: ['NOT_FOUND', 'HOST_NOT_ALLOWED'],
      },
      async ({ body }, caller) => {
        const { endpoint, secret } = await createWebhookEndpoint(deps, caller, body);
        return { body: { endpoint: serializeEndpoint(endpoint), secret: secret.reveal() } };
      },
    ),
    route(
      {
        method: 'GET',
        path: `${path}/:id`,
        id: 'getWebhookEndpoint',
        summary: 'Returns a webhook endpoint. Scope: webhooks:read.',
        schemas: { path: idPath, query: noQuery },
        response: one,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => ({
        body: { endpoint: serializeEndpoint(await getWebhookEndpoint(deps, caller, id)) },
      }),
    ),
    route(
      {
        method: 'PATCH',
        path: `${path}/:id`,
        id: 'updateWebhookEndpoint',
        summary: 'Updates, disables or enables a webhook endpoint. Scope: webhooks:write.',
        schemas: { path: idPath, query: noQuery, body: updateBody },
        response: one,
        codes: ['NOT_FOUND', 'HOST_NOT_ALLOWED'],
      },
      async ({ path: { id }, body }, caller) => ({
        body: { endpoint: serializeEndpoint(await updateWebhookEndpoint(deps, caller, id, body)) },
      }),
    ),
    route(
      {
        method: 'DELETE',
        path: `${path}/:id`,
        id: 'deleteWebhookEndpoint',
        summary: 'Deletes a webhook endpoint with its messages. Scope: webhooks:write.',
        schemas: { path: idPath, query: noQuery },
        response: z.object({
          deletedId: z.guid().meta({ description: 'The id of the deleted endpoint.' }),
        }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => ({
        body: { deletedId: await deleteWebhookEndpoint(deps, caller, id) },
      }),
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/rotate-secret`,
        id: 'rotateWebhookSecret',
        summary:
          'Makes a new secret for a webhook endpoint. For a day, messages have a signature of each. Scope: webhooks:write.',
        schemas: { path: idPath, query: noQuery },
        response: withSecret,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => {
        const { endpoint, secret } = await rotateWebhookSecret(deps, caller, id);
        return { body: { endpoint: serializeEndpoint(endpoint), secret: secret.reveal() } };
      },
    ),
  ];
}

const redeliverBody = strictObject({
  messageId: uuid.nullish().meta({ description: 'The id of one message.' }),
  from: timestamp.nullish().meta({ description: 'Events at this time or later.' }),
  to: timestamp.nullish().meta({ description: 'Events before this time. Absent: until now.' }),
}).meta({
  id: 'RedeliverWebhooks',
  description: 'The messages to send again: one, or those whose events are in a span of time.',
});

function messageRoutes(deps: ConnectionDeps): Route[] {
  return [
    route(
      {
        method: 'GET',
        path: `${path}/:id/messages`,
        id: 'listWebhookMessages',
        summary:
          'Lists the messages of an endpoint of the last seven days with the log of their attempts, newest first. ' +
          'Scope: webhooks:read.',
        schemas: {
          path: idPath,
          query: strictObject({
            status: messageStatus.optional().meta({ description: 'Only messages in this state.' }),
            ...pageQuery(webhookMessageCursor),
          }),
        },
        response: z.object({ messages: z.array(messageResponse) }),
        isPaged: true,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id }, query }, caller) => {
        const { limit: first = 20, cursor: after, status } = query;
        const found = await listWebhookMessages(deps, caller, id, { first, after, status });
        return {
          body: { messages: found.nodes.map(serializeMessage) },
          ...linkHeader(`${path}/${id}/messages`, query, found.hasNextPage ? found.endCursor : null),
        };
      },
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/test`,
        id: 'sendTestWebhook',
        summary: 'Sends a test event to a webhook endpoint. Scope: webhooks:write.',
        schemas: { path: idPath, query: noQuery },
        response: z.object({ message: messageResponse }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => ({
        body: { message: serializeMessage(await sendTestWebhook(deps, caller, id)) },
      }),
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/redeliver`,
        id: 'redeliverWebhooks',
        summary:
          'Sends messages of an endpoint again that were delivered or have failed, at once those that wait for their next ' +
          'attempt. They keep their `webhook-id`. Scope: webhooks:write.',
        schemas: { path: idPath, query: noQuery, body: redeliverBody },
        response: z.object({
          count: z.int().meta({
            description: 'The number of messages that are sent again, at most 1000: the oldest.',
          }),
          nextFrom: z.iso.datetime().nullable().meta({
            description:
              'If there are more, the time to give as `from` to send the rest again; otherwise null.',
          }),
        }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id }, body }, caller) => {
        const { count, nextFrom } = await redeliverWebhookMessages(deps, caller, id, body);
        return { body: { count, nextFrom: nextFrom?.toISOString() ?? null } };
      },
    ),
  ];
}
