import { GraphQLError } from 'graphql';

/** What a caller is told; anything else is an error of the server's own. */
export class Refused extends GraphQLError {
  readonly statusCode: number;

  constructor(statusCode: number, code: string) {
    super(code, { extensions: { code, http: { status: statusCode } } });
    this.statusCode = statusCode;
  }
}
