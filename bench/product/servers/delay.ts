/** How long the slow Okta takes to answer. */
export const delayMs = 2_000;
