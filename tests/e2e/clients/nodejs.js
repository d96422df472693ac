// Ships through logzio-nodejs, or winston-logzio, until its standard input ends: LIBRARY PORT TOKEN...
'use strict';

const ROUNDS_MAX = 1000;
const LINES_A_ROUND = 20;

const [library, port, ...tokens] = process.argv.slice(2);
const options = (token) => ({
    token,
    host: '127.0.0.1',
    port,
    protocol: 'http',
    bufferSize: 50,
    sendIntervalMs: 100,
    compress: library === 'logzio-nodejs',
    addOtelContext: false,
    // A refusal is what half of this test is about.
    supressErrors: true,
});

const shippers = {
    'logzio-nodejs': (token) => {
        const logger = require('logzio-nodejs').createLogger(options(token));
        return {
            log: (id) => logger.log({ id, message: 'a log ä世' }),
            end: () => new Promise((resolve) => logger.sendAndClose(resolve)),
        };
    },
    'winston-logzio': (token) => {
        const winston = require('winston');
        const Transport = require('winston-logzio');
        const transport = new Transport(options(token));
        const logger = winston.createLogger({ transports: [transport] });
        return {
            log: (id) => logger.info('a log ä世', { id }),
            end: () => new Promise((resolve) => transport.finish(resolve)),
        };
    },
};

let stopping = false;
process.stdin.resume();
process.stdin.on('end', () => { stopping = true; });

const ship = async () => {
    const loggers = tokens.map(shippers[library]);
    for (let round = 0; round < ROUNDS_MAX && !stopping; round += 1) {
        loggers.forEach((logger, at) => {
            for (let line = 0; line < LINES_A_ROUND; line += 1) logger.log(`node-${at}-${round}-${line}`);
        });
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await Promise.all(loggers.map((logger) => logger.end()));
};

ship();
