package proxy

import (
	"errors"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// failureTable says which errors mean that something stored is not what was written. The
// first match wins: a damaged manifest is one of the system's objects, too.
func failureTable() []failureKind {
	return []failureKind{
		{vault.ErrPlainObject, intake.PlainObject},
		{kms.ErrKeyReplaced, "key_replaced"},
		{kms.ErrCorruptKey, "kms_key"},
		{kms.ErrDecrypt, "dek"},
		{vault.ErrNoManifest, "manifest"},
		{system.ErrTampered, "system_object"},
		{storage.ErrLied, "answer"},
		{sse.ErrRecord, "record"},
		{sse.ErrTruncated, "truncated"},
		{sse.ErrTampered, "data"},
	}
}

// failures are the kinds of damage.
func failures() (all []intake.Failure) {
	for _, row := range failureTable() {
		if row.is != intake.PlainObject {
			all = append(all, row.is)
		}
	}
	return all
}

type failureKind struct {
	err error
	is  intake.Failure
}

// failureOf says which of the failures an error is that operators count.
func failureOf(err error) intake.Failure {
	for _, row := range failureTable() {
		if errors.Is(err, row.err) {
			return row.is
		}
	}
	return ""
}
