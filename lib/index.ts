export * from './ann';
export * from './depth';
export * from './face';
