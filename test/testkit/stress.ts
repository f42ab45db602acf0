/** The factor by which randomised searches are longer than in `npm test`; `npm run test:stress` sets it. */
export const times = Number(process.env.TEST_TIMES ?? 1);
