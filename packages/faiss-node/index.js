module.exports = require('faiss-vision/faiss-node');
