package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// askedEncryption is writeEncryption, and tells what is wrong with the headers only to
// whom upstream would let write with them: a policy may forbid what they ask for. What
// the bucket's own policy forbids is errAccessDenied, or upstream's own refusal.
func (s *Server) askedEncryption(r *request) (*sse.Request, error) {
	if err := s.obeys(r.Context(), r); errors.Is(err, errAccessDenied) {
		return nil, s.refusal(r.Context(), r, err)
	} else if err != nil {
		return nil, err
	}
	asked, err := s.writeEncryption(r)
	var fault *apiError
	if errors.As(err, &fault) && fault.code == invalidArgument {
		err = s.refusal(r.Context(), r, err)
	}
	return asked, err
}

// writeEncryption returns how a write is encrypted: as its headers ask, else by
// the bucket's rule, else by the automatic default. The headers of a caller without
// a signature choose how, and no key by name: errAccessDenied, whatever keys exist.
func (s *Server) writeEncryption(r *request) (*sse.Request, error) {
	if err := s.checkCustomerTransport(r); err != nil {
		return nil, err
	}
	asked, err := sse.ParseWrite(r.Header)
	if err != nil {
		return nil, writeHeaderError(r, err)
	}
	if err := namesNoKey(r, &asked); err != nil {
		return nil, err
	}
	if len(asked.ClientContext) > 0 {
		if _, err := kms.ParseClientContext(asked.ClientContext); err != nil {
			return nil, errArguments(r, err)
		}
	}
	if asked.Mode != sse.ModeNone {
		return &asked, nil
	}
	rule, ok, err := s.rule(r.Context(), r.bucket)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		asked.Mode = s.opts.AutoEncryption
	case rule.Algorithm == bucketconfig.AWSKMS:
		asked.Mode, asked.KMSKeyID = sse.ModeKMS, rule.KMSKeyID
		if rule.BucketKeyEnabled && asked.BucketKey == nil {
			asked.BucketKey = &rule.BucketKeyEnabled
		}
	default:
		asked.Mode = sse.ModeS3
	}
	return &asked, nil
}

// namesNoKey refuses a KMS key's name from a caller that no rule of access is
// about, and an encryption context: key services judge by it, and log it.
func namesNoKey(r *request, asked *sse.Request) error {
	if r.caller.identity == nil && (asked.KMSKeyID != "" || asked.ClientContext != nil) {
		return fmt.Errorf("a caller without a signature names a KMS key or an encryption context: %w", errAccessDenied)
	}
	return nil
}

// checkCustomerTransport refuses customer keys that anybody on the way could
// have read, before it looks at anything else of them.
func (s *Server) checkCustomerTransport(r *request) error {
	if sse.HasCustomerKey(r.Header) && !r.origin.Secure && !s.opts.CustomerKeysOverHTTP {
		return errPlainHTTP
	}
	return nil
}

func writeHeaderError(r *request, err error) error {
	if errors.Is(err, sse.ErrIncompatible) {
		return &apiError{400, invalidArgument, sse.ErrIncompatible.Error(), nil}
	}
	return errArguments(r, err)
}

// rule returns the bucket's rule, once the system bucket is set up.
func (s *Server) rule(ctx context.Context, bucket string) (bucketconfig.Rule, bool, error) {
	if err := s.setup.ensure(ctx); err != nil {
		return bucketconfig.Rule{}, false, err
	}
	rule, ok, err := s.rules.Effective(ctx, bucket)
	if errors.Is(err, bucketconfig.ErrNotFound) {
		err = fmt.Errorf("%w; restore the system bucket from a backup; where there is none, or this MinIO is a new one, stop bucketseal and run: bucketseal rules reset", err)
	}
	return rule, ok, err
}
