import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NatsDoubler } from './nats-doubler.js';

const ack = '$JS.ACK.LOG.coder-steps.1.7.3.1700000000000000000.0';
const delivery = `MSG _INBOX_coder.x 9 ${ack} 5\r\nhello\r\n`;
const withHeaders = `HMSG _INBOX_coder.x 9 ${ack} 12 17\r\nNATS/1.0\r\n\r\nhello\r\n`;
const reply = `MSG _INBOX_coder.y 2 5\r\n${'\r\nMSG'.slice(0, 5)}\r\n`;
const others = ['INFO {"server_id":"x"}\r\n', 'PING\r\n', '+OK\r\n', reply];

describe('NatsDoubler', () => {
  it('doubles deliveries and nothing else, however the bytes are cut', () => {
    const frame = fc.constantFrom(delivery, withHeaders, ...others);
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), fc.array(fc.integer({ min: 1, max: 40 })), (frames, cuts) => {
        const doubler = new NatsDoubler();
        let rest = Buffer.from(frames.join(''));
        let out = '';
        for (const size of [...cuts, rest.length]) {
          out += doubler.push(rest.subarray(0, size)).toString();
          rest = rest.subarray(size);
        }
        const isDelivery = (text: string): boolean => text === delivery || text === withHeaders;
        expect(out).toBe(frames.map((text) => (isDelivery(text) ? text + text : text)).join(''));
        expect(doubler.doubled).toBe(frames.filter(isDelivery).length);
      }),
    );
  });
});
