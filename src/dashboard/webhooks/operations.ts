import type { FragmentOf, ResultOf } from 'gql.tada';
import { graphql } from '../graphql.ts';

const endpointFields = graphql(`
  fragment Endpoint on WebhookEndpoint @_unmask {
    id
    url
    description
    eventTypes
    projectIds
    format
    createdAt
    disabledAt
    previousSecretUntil
    failingSince
    lastSuccessAt
  }
`);

/** A webhook endpoint. */
export type Endpoint = FragmentOf<typeof endpointFields>;
/** A type of events to which an endpoint can subscribe. */
export type EventType = NonNullable<Endpoint['eventTypes']>[number];

export const endpointsQuery = graphql(
  `
    query WebhookEndpoints {
      webhookEndpoints { ...Endpoint }
    }
  `,
  [endpointFields],
);

export const endpointQuery = graphql(
  `
    query WebhookEndpoint($id: UUID!) {
      webhookEndpoint(id: $id) { ...Endpoint }
    }
  `,
  [endpointFields],
);

export const messagesQuery = graphql(`
  query WebhookMessages($endpointId: UUID!, $status: WebhookMessageStatus, $after: String) {
    webhookMessages(endpointId: $endpointId, status: $status, first: 20, after: $after) {
      nodes {
        id
        webhookId
        type
        connectionId
        occurredAt
        status
        nextAttemptAt
        attempts { at durationMs status error }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

/** A message of an endpoint with its attempts. */
export type Message = ResultOf<typeof messagesQuery>['webhookMessages']['nodes'][number];

export const createEndpointMutation = graphql(`
  mutation CreateEndpoint($input: CreateWebhookEndpointInput!) {
    outcome: createWebhookEndpoint(input: $input) { endpoint { id url format } secret }
  }
`);

export const updateEndpointMutation = graphql(
  `
    mutation UpdateEndpoint($id: UUID!, $input: UpdateWebhookEndpointInput!) {
      outcome: updateWebhookEndpoint(id: $id, input: $input) {
        endpoint { ...Endpoint }
      }
    }
  `,
  [endpointFields],
);

export const deleteEndpointMutation = graphql(`
  mutation DeleteEndpoint($id: UUID!) {
    outcome: deleteWebhookEndpoint(id: $id) { deletedId }
  }
`);

export const rotateSecretMutation = graphql(`
  mutation RotateSecret($id: UUID!) {
    outcome: rotateWebhookSecret(id: $id) { endpoint { id url format } secret }
  }
`);

export const sendTestMutation = graphql(`
  mutation SendTest($endpointId: UUID!) {
    outcome: sendTestWebhook(endpointId: $endpointId) { message { id } }
  }
`);

export const redeliverMutation = graphql(`
  mutation Redeliver($endpointId: UUID!, $messageId: UUID, $from: DateTime, $to: DateTime) {
    outcome: redeliverWebhooks(endpointId: $endpointId, messageId: $messageId, from: $from, to: $to) { count nextFrom }
  }
`);
