package sse

import "strings"

// KeyARNPrefix stands before the ids of KMS keys in S3's answers, and may in requests.
const KeyARNPrefix = "arn:aws:kms:"

// KeyName returns the name of the KMS key that an id names: the id itself, or what follows
// the last slash, or else the prefix, of an ARN.
func KeyName(id string) string {
	name := strings.TrimPrefix(id, KeyARNPrefix)
	if i := strings.LastIndexByte(name, '/'); name != id && i >= 0 {
		name = name[i+1:]
	}
	return name
}
