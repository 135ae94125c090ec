package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// errUpstreamEncrypts says that MinIO has a KMS of its own, which this design
// rules out: it would encrypt ciphertext again and keep rules of its own.
var errUpstreamEncrypts = errors.New("upstream has a key service of its own; bucketseal needs one without")

const noEncryptionRule = "ServerSideEncryptionConfigurationNotFoundError"

// mayRule asks upstream whether the caller may do what it asks with the
// bucket's rule: upstream has no KMS and no rules, and says so only to those it
// would have let.
func (s *Server) mayRule(r *request) error {
	if r.caller.accessKey == "" { // upstream can only narrow access
		return fmt.Errorf("anonymous caller: %w", keyring.ErrAccess)
	}
	up := r.upstreamRequest(r.Method)
	up.Query = url.Values{"encryption": {""}}
	var body []byte
	if r.Method == http.MethodPut {
		if s.upstreamKMS.found.Load() { // it would take the rule that only asks
			return errUpstreamEncrypts
		}
		up.Header.Set("Content-Type", "application/xml")
		body = bucketconfig.Rule{Algorithm: bucketconfig.AES256}.XML()
	}
	setDocument(up, body, true)
	resp, err := s.opts.Upstream.Do(r.Context(), up)
	if err != nil {
		return err
	}
	if r.Method == http.MethodDelete && resp.StatusCode == http.StatusNoContent {
		upstream.Discard(resp)
		return nil
	}
	if resp.StatusCode < 300 {
		upstream.Discard(resp)
		if r.Method == http.MethodPut {
			s.takeBack(r)
		}
		return errUpstreamEncrypts
	}
	answer := upstream.ReadError(resp)
	switch {
	case r.Method == http.MethodPut && answer.Status == http.StatusNotImplemented,
		r.Method == http.MethodGet && answer.Status == http.StatusNotFound && answer.Code == noEncryptionRule:
		return nil
	}
	return answer
}

// takeBack removes the rule that MinIO took of mayRule, as it has got a KMS since it
// was looked at.
func (s *Server) takeBack(r *request) {
	s.upstreamKMS.found.Store(true)
	up := r.upstreamRequest(http.MethodDelete)
	up.Query = url.Values{"encryption": {""}}
	setDocument(up, nil, true)
	resp, err := s.opts.Upstream.Do(context.WithoutCancel(r.Context()), up)
	if err == nil {
		upstream.Discard(resp)
	}
	if err != nil || resp.StatusCode >= 300 {
		s.log.Error("MinIO has a KMS of its own, and keeps an encryption rule for a bucket that it should not have: remove it there", "bucket", r.bucket, "error", err)
	}
}

// putBucketEncryption serves PutBucketEncryption. It answers when every proxy
// obeys the new rule.
func (s *Server) putBucketEncryption(w http.ResponseWriter, r *request) error {
	if err := s.mayRule(r); err != nil {
		return err
	}
	body, err := s.document(r)
	if err != nil {
		return err
	}
	rule, err := bucketconfig.ParseXML(bytes.NewReader(body))
	if err != nil {
		return err
	}
	mode, name := sse.ModeS3, s.keys.S3Key()
	if rule.Algorithm == bucketconfig.AWSKMS {
		mode = sse.ModeKMS
		if name, err = s.keys.KeyName(rule.KMSKeyID); err != nil {
			return err
		}
	}
	// Upstream can only narrow access: who may not write under a key here does not
	// make others do so.
	if err := s.keys.MayRule(r.Context(), r.caller.keys(), r.bucket, mode, name); err != nil {
		return err
	}
	if mode == sse.ModeKMS {
		if _, err := s.opts.KMS.DescribeKey(r.Context(), name); err != nil && !errors.Is(err, kms.ErrNotPermitted) {
			return fmt.Errorf("KMS key of the rule: %w", err)
		}
	}
	if err := s.setup.ensure(r.Context()); err != nil {
		return err
	}
	if err := s.rules.Set(r.Context(), r.bucket, rule); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// getBucketEncryption serves GetBucketEncryption.
func (s *Server) getBucketEncryption(w http.ResponseWriter, r *request) error {
	if err := s.mayRule(r); err != nil {
		return err
	}
	if err := s.setup.ensure(r.Context()); err != nil {
		return err
	}
	rule, ok, err := s.rules.Get(r.Context(), r.bucket)
	if err != nil {
		return err
	}
	if !ok {
		return &apiError{404, noEncryptionRule, "The server side encryption configuration was not found", nil}
	}
	writeXML(w, http.StatusOK, rule.XML())
	return nil
}

// deleteBucketEncryption serves DeleteBucketEncryption. It answers when every
// proxy has forgotten the rule.
func (s *Server) deleteBucketEncryption(w http.ResponseWriter, r *request) error {
	if err := s.keys.MayRule(r.Context(), r.caller.keys(), r.bucket, sse.ModeS3, s.keys.S3Key()); err != nil {
		return err
	}
	if err := s.mayRule(r); err != nil {
		return err
	}
	if err := s.setup.ensure(r.Context()); err != nil {
		return err
	}
	if err := s.rules.Delete(r.Context(), r.bucket); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
