/** The URL of the GraphQL API, relative to this page. */
export const endpoint = new URL('graphql', document.baseURI).href;
