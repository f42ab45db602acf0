import type { FragmentOf, ResultOf } from 'gql.tada';
import { graphql } from '../graphql.ts';
import { connectionFields } from '../operations.ts';

const policyFields = graphql(`
  fragment Policy on UsePolicy @_unmask {
    version
    preset
    rules { effect methods path }
  }
`);

/** The use policy of a connection. */
export type Policy = FragmentOf<typeof policyFields>;
/** A rule of a use policy. */
export type Rule = Policy['rules'][number];
/** An HTTP method of a request through a connection. */
export type Method = NonNullable<Rule['methods']>[number];

const serviceAppFields = graphql(`
  fragment ServiceApp on OktaServiceAppCredentials @_unmask {
    clientId
    scopes
    jwksUrl
    keys { keyId publicJwk createdAt state }
    keyRegistrationFailure { message remedy }
  }
`);

export const connectionQuery = graphql(
  `
    query Connection($id: UUID!) {
      appConnection(id: $id) {
        ...Connection
        createdAt
        notes
        health {
          lastCheckAt
          nextCheckAt
          checkDelay {
            since
            message
          }
          lastGoodAt
          history(first: 100) { from until status code isHostOutage }
        }
        credentials {
          ...ServiceApp
        }
        conversion {
          credentials {
            ...ServiceApp
          }
          verification { status message remedy }
        }
        lastUsedAt
        lastUsedBy { keyId name subject }
        usePolicy { ...Policy }
        verification {
          details {
            __typename
            warnings { message remedy }
            ... on OktaApiTokenDetails {
              organisation { id name }
              owner { roles { type label } }
              apiTokens { id name expiresAt network { connection } }
            }
          }
        }
      }
    }
  `,
  [connectionFields, policyFields, serviceAppFields],
);

/** A connection with everything that its page shows. */
export type DetailedConnection = NonNullable<ResultOf<typeof connectionQuery>['appConnection']>;

export const updatePolicyMutation = graphql(
  `
    mutation UpdatePolicy($id: UUID!, $input: UpdateUsePolicyInput!) {
      outcome: updateUsePolicy(connectionId: $id, input: $input) {
        usePolicy { ...Policy }
      }
    }
  `,
  [policyFields],
);

export const testPolicyQuery = graphql(`
  query TestPolicy($id: UUID!, $method: UseMethod!, $path: String!, $policy: UsePolicyInput) {
    testUsePolicy(connectionId: $id, method: $method, path: $path, policy: $policy) {
      isAllowed
      path
      rulePosition
      explanation
    }
  }
`);

/** Written for Okta, so that it is checked against the schema; `buildExecuteMutation` adapts it to other apps. */
export const executeMutation = graphql(`
  mutation Execute($input: ExecuteOktaRequestInput!) {
    outcome: executeOktaRequest(input: $input) {
      status
      headers { name value }
      body
      truncated
      rateLimit { limit remaining resetAt }
      nextPath
    }
  }
`);

/** A response of the app. */
export type AppResponse = NonNullable<ResultOf<typeof executeMutation>['outcome']>;

/** Written for Okta, so that it is checked against the schema; `buildRotateMutation` adapts it to other apps. */
export const rotateMutation = graphql(`
  mutation RotateKey($id: UUID!) {
    outcome: rotateOktaConnectionKey(id: $id) {
      appConnection { id version }
    }
  }
`);

export const usageQuery = graphql(`
  query Usage($id: UUID!, $from: DateTime, $by: UsageInterval!) {
    appConnection(id: $id) {
      usage(from: $from, by: $by) {
        total {
          calls
          p50Ms
          p99Ms
          bytesUp
          bytesDown
          outcomes { outcome calls }
        }
        buckets {
          start
          counts {
            calls
            p50Ms
            p99Ms
            statusClasses { statusClass calls }
          }
        }
        callers {
          caller { keyId name subject }
          calls
          failedCalls
        }
      }
    }
  }
`);

/** The usage of a connection in a range. */
export type Usage = NonNullable<ResultOf<typeof usageQuery>['appConnection']>['usage'];
