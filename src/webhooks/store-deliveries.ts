import type { QueueDeps } from './enqueue.ts';
import { type Attempted, storeDelivered } from './store-attempt.ts';
import type { WebhookEndpoint } from './webhook-endpoint.entity.ts';

interface PendingDelivery extends Attempted {
  resolve(isCurrent: boolean): void;
  reject(error: unknown): void;
}

/**
 * Returns a function that stores deliveries to an endpoint in groups: those that end while a statement is under way share the next
 * one. It resolves as `storeDelivered` does.
 */
export function createDeliveryStore(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
): (delivered: Attempted) => Promise<boolean> {
  let waiting: PendingDelivery[] = [];
  let isBusy = false;
  const storeWaiting = async () => {
    isBusy = true;
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      try {
        const isCurrent = await storeDelivered(deps, endpoint, group);
        for (const { resolve } of group) resolve(isCurrent);
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    isBusy = false;
  };
  return ({ message, result }) =>
    new Promise((resolve, reject) => {
      waiting.push({ message, result, resolve, reject });
      if (!isBusy) void storeWaiting();
    });
}
