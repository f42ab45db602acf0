import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { currentTime } from '../common/clock.ts';

/** The certificate of a host, as a TLS handshake has shown it. */
export interface PeerCertificate {
  validFrom: Date;
  validTo: Date;
  seenAt: Date;
}

/** The certificate of a host to which an organisation has sent a request. */
export interface SeenCertificate extends PeerCertificate {
  orgId: string;
  /** `https://example.okta.com`. */
  origin: string;
}

interface Host {
  /** Absent before the first handshake. */
  certificate?: PeerCertificate;
  /** When each organisation has last sent a request, by `performance.now()`. */
  requests: Map<string, number>;
}

/** A host that is forgotten is remembered again with the next request and handshake. */
const maxHosts = 10_000;
/** How long requests are remembered, in milliseconds: until the connection that a request has verified is stored, and longer. */
const requestMs = 120_000;

/**
 * Remembers the certificates of the hosts of an outbound client. A handshake shows the certificate, and each request the
 * organisation, because organisations share the connections to a host.
 */
export class PeerCertificates {
  readonly #hosts = new LRUCache<string, Host>({ max: maxHosts });

  /** Remembers that an organisation sends a request. */
  addRequest(origin: string, orgId: string): void {
    this.#get(origin).requests.set(orgId, performance.now());
  }

  /** Remembers the certificate of a host that was verified. */
  addHandshake(origin: string, socket: Socket): void {
    const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
    if (!certificate) return;
    const { validFromDate, validToDate: validTo } = certificate;
    // Years that PostgreSQL does not have.
    if (!(validTo.getTime() > 0)) return;
    const validFrom = new Date(Math.max(0, validFromDate.getTime() || 0));
    this.#get(origin).certificate = { validFrom, validTo, seenAt: currentTime() };
  }

  /** Lists the certificates of the hosts to which organisations have sent requests in the last two minutes. */
  list(): SeenCertificate[] {
    const seen: SeenCertificate[] = [];
    const start = performance.now() - requestMs;
    for (const [origin, { certificate, requests }] of this.#hosts.entries()) {
      for (const [orgId, at] of requests) {
        if (at < start) requests.delete(orgId);
        else if (certificate) seen.push({ orgId, origin, ...certificate });
      }
    }
    return seen;
  }

  #get(origin: string): Host {
    const known = this.#hosts.get(origin);
    if (known) return known;
    const host: Host = { requests: new Map() };
    this.#hosts.set(origin, host);
    return host;
  }
}
