import { gql } from 'graphql-request';
import { createMutation, okta } from './operations.ts';
import { at, oktaBody, type RestClient, type RestResponse } from './rest.ts';

const validate = gql`
  mutation ($credentials: OktaCredentialsInput!) {
    answer: validateOktaCredentials(credentials: $credentials) { code message remedy }
  }
`;
const update = gql`
  mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { id } }
  }
`;

/**
 * Every operation that takes an instance URL, by name; `id` is an existing connection. Where a connection could be stored
 * without a request to Okta, the input allows that.
 */
export function createUrlEntryPoints(rest: RestClient, id: string, apiToken: string) {
  const graphql = (query: string, variables: object) => rest('POST', '/graphql', { query, variables });
  const routes = '/api/v1/app-connections/okta';
  const onUnreachable = 'SAVE_UNVERIFIED';
  const allowDifferentOktaOrg = true;
  return {
    createOktaConnection: (instanceUrl: string) =>
      graphql(createMutation, okta({ onUnreachable }, { instanceUrl, apiToken })),
    validateOktaCredentials: (instanceUrl: string) =>
      graphql(validate, { credentials: { instanceUrl, apiToken } }),
    updateOktaConnection: (instanceUrl: string) =>
      graphql(update, { id, input: { credentials: { instanceUrl, apiToken }, allowDifferentOktaOrg } }),
    'POST to REST': (instanceUrl: string) =>
      rest('POST', routes, oktaBody({ onUnreachable }, { instanceUrl, apiToken })),
    'PATCH to REST': (instanceUrl: string) =>
      rest('PATCH', `${routes}/${id}`, { credentials: { instanceUrl, apiToken }, allowDifferentOktaOrg }),
  };
}

/** The failure in a response of REST or GraphQL, reported as an error or as a result. */
export function parseFailure({ text }: RestResponse) {
  const body: unknown = JSON.parse(text);
  const [error, outcome] = [at(body, 'errors', 0), at(body, 'data', 'answer')];
  const from = error
    ? { ...Object(at(error, 'extensions')), message: at(error, 'message') }
    : (outcome ?? body);
  return {
    code: `${at(from, 'code')}`,
    message: `${at(from, 'message') ?? at(from, 'detail')}`,
    remedy: `${at(from, 'remedy')}`,
    retryAt: at(from, 'retryAt'),
    /** The path of the issue in the input, without `input`, which REST lacks. */
    fields: Object.values(Object(at(from, 'issues'))).map((issue) =>
      Object.values(Object(at(issue, 'path')))
        .filter((name) => name !== 'input')
        .join('.'),
    ),
  };
}
