package storage

import "strings"

// RecordName is the metadata entry that holds an object's record. In this case it has
// one name in every answer.
const RecordName = "X-Amz-Meta-Bucketseal"

// IsReserved says whether a metadata name, in any case, is the proxy's own: it begins as
// RecordName does. Clients can neither set nor see such entries.
func IsReserved(name string) bool {
	return len(name) >= len(RecordName) && strings.EqualFold(name[:len(RecordName)], RecordName)
}
