import type { Member, PatroniCluster } from './patroni.ts';

/** A fault, after which there is another primary. */
export interface Fault {
  /** Whether the primary stays, and waits for its standby. */
  keepsPrimary?: boolean;
  /** Whether the standby is asynchronous, so that acknowledged changes are lost. */
  isAsynchronous?: boolean;
  /** Causes it. */
  strike(cluster: PatroniCluster, primary: Member, round: number): Promise<void> | void;
  /** Repairs what it has left, once creates succeed again. */
  repair?(cluster: PatroniCluster, former: Member): void;
}

/** The member that is not this one. */
export const otherOf = (member: Member): Member => (member === 'a' ? 'b' : 'a');

/** The faults by name. */
export const faults: Record<string, Fault> = {
  /** All processes of the primary's computer are killed at the same time. */
  kill: {
    strike: ({ network }, primary) => network.kill(primary),
    repair: (cluster, former) => cluster.startMember(former),
  },
  /** All processes of the primary's computer are suspended, and go on when another primary has been found. */
  freeze: {
    strike: ({ network }, primary) => network.signal(primary, 'SIGSTOP'),
    repair: ({ network }, former) => network.signal(former, 'SIGCONT'),
  },
  'switch-over': {
    strike: (cluster, primary) => cluster.switchOver(primary, otherOf(primary)),
  },
  /** The primary is cut off from all others; in every second round, clients still reach it. */
  split: {
    strike({ network }, primary, round) {
      const others = ['etcd', otherOf(primary)] as const;
      network.separate(primary, round % 2 === 0 ? [...others, 'host'] : others);
    },
    repair: ({ network }) => network.reunite(),
  },
  /** The synchronous standby is cut off from the primary, which commits nothing until Patroni goes on without the standby. */
  'lost-standby': {
    keepsPrimary: true,
    strike: ({ network }, primary) => network.separate(primary, [otherOf(primary)]),
    repair: ({ network }) => network.reunite(),
  },
  /** With an asynchronous standby, the primary is cut off from all but its clients. It has to lose changes. */
  asynchronous: {
    isAsynchronous: true,
    strike: ({ network }, primary) => network.separate(primary, ['etcd', otherOf(primary)]),
    repair: ({ network }) => network.reunite(),
  },
};
