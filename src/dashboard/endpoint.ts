/** The address of the GraphQL API: beside this page, wherever that is. */
export const endpoint = new URL('graphql', document.baseURI).href;
