import { timingSafeEqual, createHash } from 'node:crypto';
import { Inject, Injectable, UnauthorizedException, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { SERVICE_CONFIG } from '@plumbline/host';
import type { IncomingMessage } from 'node:http';
import type { LedgerConfig } from '../config.js';

/** Lets only those in who send the token. Compared as digests in constant time: neither length nor prefix leaks. */
@Injectable()
export class TokenGuard implements CanActivate {
  constructor(@Inject(SERVICE_CONFIG) private readonly config: LedgerConfig) {}

  canActivate(context: ExecutionContext): boolean {
    const header = context.switchToHttp().getRequest<IncomingMessage>().headers.authorization ?? '';
    const token = /^Bearer (.+)$/.exec(header)?.[1] ?? '';
    if (timingSafeEqual(digest(token), digest(this.config.apiToken))) return true;
    throw new UnauthorizedException('send the API token as "authorization: Bearer …"');
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
