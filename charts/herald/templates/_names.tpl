{{- /* Names, labels and images that several templates share. */ -}}

{{- define "herald.name" -}}
{{- if contains "herald" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-herald" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "herald.operator" -}}
{{ include "herald.name" . }}-operator
{{- end -}}

{{- define "herald.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "herald.operator" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "herald.selector" -}}
app.kubernetes.io/name: herald-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "herald.labels" -}}
{{ include "herald.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: herald
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* One of Herald's own images: (list $ "herald/gateway"). Registry and tag are those of the operator. */ -}}
{{- define "herald.image" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.image.registry -}}{{ . | trimSuffix "/" }}/{{- end -}}
{{- index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion -}}
{{- end -}}
