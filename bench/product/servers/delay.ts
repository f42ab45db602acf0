/** The response time of the slow Okta. */
export const delayMs = 2_000;
