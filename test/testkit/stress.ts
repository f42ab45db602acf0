/** How many times as long the searches for a fault are as in `npm test`; `npm run test:stress` sets it. */
export const times = Number(process.env.TEST_TIMES ?? 1);
