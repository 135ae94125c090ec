package s3api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/form"
	"github.com/bucketseal/bucketseal/proxy/intake"
)

// malformedForm is MinIO's answer to forms that are none; it adds what is wrong.
const malformedForm = "The body of your POST request is not well-formed multipart/form-data."

// formPolicyError names what of a form its policy does not allow: the field as
// MinIO names it, the condition as AWS does.
func formPolicyError(err error) (*intake.Error, bool) {
	var uncovered *form.UncoveredError
	if errors.As(err, &uncovered) {
		return intake.NewError(403, "AccessDenied", fmt.Sprintf("Access Denied. (Each form field that you specify in a form must appear in the list of policy conditions. %q not specified in the policy.)", http.CanonicalHeaderKey(uncovered.Field))), true
	}
	var failed *form.ConditionError
	if errors.As(err, &failed) {
		return intake.NewError(403, "AccessDenied", "Access Denied. (Invalid according to Policy: Policy Condition failed: "+failed.Condition+")"), true
	}
	return nil, false
}
