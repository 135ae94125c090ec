// Package keyuse writes an audit line for every use of a key of a key service, and gets the
// key that signs audit logs from one.
package keyuse

import (
	"context"
	"errors"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/kms"
)

// Service is a key service whose uses are written down. The lines name the request that a
// key was used for, if the context knows it (audit.WithTrace).
type Service struct {
	kms.Service
	// Recorder gets the lines. Required.
	Recorder audit.Recorder
}

// note writes down that a key was used.
func (s *Service) note(ctx context.Context, operation, key string, version uint32, began time.Time, err error) {
	e := &audit.Event{Kind: audit.KeyUse}
	t := audit.TraceOf(ctx)
	if t != nil {
		t.Fill(e)
	}
	e.Operation, e.KMSKey, e.KMSVersion, e.Took, e.Outcome = operation, key, version, time.Since(began), audit.OK
	switch {
	case errors.Is(err, kms.ErrNotPermitted):
		e.Outcome, e.Reason = audit.Refused, err.Error()
	case err != nil:
		e.Outcome, e.Reason = audit.Failed, err.Error()
	case t != nil:
		t.Used(key, version)
	}
	s.Recorder.Note(e)
}

// CreateKey implements kms.Service.
func (s *Service) CreateKey(ctx context.Context, name string) error {
	began := time.Now()
	err := s.Service.CreateKey(ctx, name)
	s.note(ctx, "kms:CreateKey", name, 0, began, err)
	return err
}

// ImportKey implements kms.Service.
func (s *Service) ImportKey(ctx context.Context, name string, key [kms.DEKSize]byte, algorithm kms.Algorithm) error {
	began := time.Now()
	err := s.Service.ImportKey(ctx, name, key, algorithm)
	s.note(ctx, "kms:ImportKey", name, 0, began, err)
	return err
}

// DeleteKey implements kms.Service.
func (s *Service) DeleteKey(ctx context.Context, name string) error {
	began := time.Now()
	err := s.Service.DeleteKey(ctx, name)
	s.note(ctx, "kms:DeleteKey", name, 0, began, err)
	return err
}

// GenerateDEK implements kms.Service.
func (s *Service) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	began := time.Now()
	dek, err := s.Service.GenerateDEK(ctx, name, encContext)
	s.note(ctx, "kms:GenerateDEK", name, dek.KeyVersion, began, err)
	return dek, err
}

// DecryptDEK implements kms.Service.
func (s *Service) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	began := time.Now()
	dek, err := s.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	s.note(ctx, "kms:DecryptDEK", name, kms.CiphertextVersion(ciphertext), began, err)
	return dek, err
}

// Encrypt implements kms.Service.
func (s *Service) Encrypt(ctx context.Context, name string, plaintext, encContext []byte) ([]byte, error) {
	began := time.Now()
	ciphertext, err := s.Service.Encrypt(ctx, name, plaintext, encContext)
	var version uint32
	if err == nil {
		version = kms.CiphertextVersion(ciphertext)
	}
	s.note(ctx, "kms:Encrypt", name, version, began, err)
	return ciphertext, err
}

// Decrypt implements kms.Service.
func (s *Service) Decrypt(ctx context.Context, name string, ciphertext, encContext []byte) ([]byte, error) {
	began := time.Now()
	plaintext, err := s.Service.Decrypt(ctx, name, ciphertext, encContext)
	s.note(ctx, "kms:Decrypt", name, kms.CiphertextVersion(ciphertext), began, err)
	return plaintext, err
}

// HMAC implements kms.Service.
func (s *Service) HMAC(ctx context.Context, name string, message []byte) ([]byte, error) {
	began := time.Now()
	sum, err := s.Service.HMAC(ctx, name, message)
	s.note(ctx, "kms:HMAC", name, 0, began, err)
	return sum, err
}

// RotateKey implements kms.Service.
func (s *Service) RotateKey(ctx context.Context, name string, after uint32) (uint32, error) {
	began := time.Now()
	version, err := s.Service.RotateKey(ctx, name, after)
	s.note(ctx, "kms:RotateKey", name, version, began, err)
	return version, err
}

// ChangeVersion implements kms.Service.
func (s *Service) ChangeVersion(ctx context.Context, name string, change kms.VersionChange) error {
	began := time.Now()
	err := s.Service.ChangeVersion(ctx, name, change)
	s.note(ctx, "kms:ChangeVersion", name, change.Version, began, err)
	return err
}
