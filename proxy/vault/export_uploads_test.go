package vault

// MinPartSize is the smallest size in bytes of every part but the last.
const MinPartSize = minPartSize
