export * from './ann';
export * from './face';
