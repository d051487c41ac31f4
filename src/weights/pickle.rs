//! The part of Python's pickle format in which `torch.save` describes a state dict.
//!
//! Nothing is executed, and nothing is copied: values refer to each other by index, so memory is
//! proportional to the length of the pickle, and neither recursion nor repetition can make more of
//! it.

use crate::error::Cause;
use burn::tensor::DType;
use std::collections::HashMap;

type Result<T> = std::result::Result<T, Cause>;

/// A tensor as a pickle describes it: a view of a storage, in elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View<'a> {
    /// The name of the storage.
    pub storage: &'a str,
    /// The type of its elements, or `None` for one that Burn does not have.
    pub dtype: Option<DType>,
    /// The first element.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// The tensors of a pickled state dict by name. Entries that are no tensors are left out.
pub(super) fn state_dict(pickle: &[u8]) -> Result<HashMap<&str, View<'_>>> {
    let mut machine = Machine { pickle, ..Machine::default() };
    let root = machine.run()?;
    let Value::Object(root) = root else { return Err("it holds no state dict".into()) };
    let Object::Dict(entries) = &machine.objects[root] else {
        return Err("it holds no state dict".into());
    };
    let mut tensors = HashMap::new();
    for (key, value) in entries {
        if let (Ok(name), Value::Object(value)) = (machine.text(*key), value)
            && let Object::Tensor(view) = &machine.objects[*value]
        {
            tensors.insert(name, view.clone());
        }
    }
    Ok(tensors)
}

#[derive(Clone, Copy)]
enum Value {
    Int(i64),
    /// `None`, a truth value, a float, or an integer that does not fit: nothing that is needed.
    Other,
    /// An index into [`Machine::objects`].
    Object(usize),
}

enum Object<'a> {
    Text(&'a str),
    Tuple(Vec<Value>),
    /// A list or a set, the items of which are never needed.
    List,
    Dict(Vec<(Value, Value)>),
    /// A class or a function: its module and its name.
    Global(&'a str, &'a str),
    Storage(&'a str, Option<DType>),
    Tensor(View<'a>),
    /// An instance of a class that is not known here.
    Instance,
}

/// The stack machine that a pickle is a program for.
#[derive(Default)]
struct Machine<'a> {
    pickle: &'a [u8],
    position: usize,
    values: Vec<Value>,
    /// The heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
    objects: Vec<Object<'a>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value> {
        loop {
            match self.byte()? {
                b'.' => return self.pop(),
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),

                b'N' | 0x88 | 0x89 => self.values.push(Value::Other),
                b'G' => {
                    self.take(8)?;
                    self.values.push(Value::Other);
                }
                b'K' => self.integer(1)?,
                b'M' => self.integer(2)?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.values.push(Value::Int(value.into()));
                }
                0x8a => {
                    let length = self.length(1)?;
                    let bytes = self.take(length)?;
                    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
                    let mut value = [if negative { 0xff } else { 0 }; 8];
                    let known = value.get_mut(..length).map(|known| known.copy_from_slice(bytes));
                    self.values.push(match known {
                        Some(()) => Value::Int(i64::from_le_bytes(value)),
                        None => Value::Other,
                    });
                }
                0x8c => self.string(1)?,
                b'X' => self.string(4)?,
                0x8d => self.string(8)?,
                // Byte strings: nothing that a state dict needs is in one.
                b'C' | b'U' => self.skip(1)?,
                b'B' | b'T' | 0x8b => self.skip(4)?,
                0x8e | 0x96 => self.skip(8)?,

                b'(' => self.marks.push(self.values.len()),
                b')' => self.push(Object::Tuple(Vec::new())),
                b'}' => self.push(Object::Dict(Vec::new())),
                b']' | 0x8f => self.push(Object::List),
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Object::Tuple(items));
                }
                opcode @ 0x85..=0x87 => {
                    let mut items = Vec::new();
                    for _ in 0x84..opcode {
                        items.insert(0, self.pop()?);
                    }
                    self.push(Object::Tuple(items));
                }
                b'l' | 0x91 => {
                    self.pop_to_mark()?;
                    self.push(Object::List);
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Object::Dict(Vec::new()));
                    self.insert(&items)?;
                }
                b'a' => drop(self.pop()?),
                b'e' | 0x90 => drop(self.pop_to_mark()?),
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.insert(&items)?;
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.values.push(top);
                }

                b'q' => self.remember(1)?,
                b'r' => self.remember(4)?,
                0x94 => {
                    let top = self.top()?;
                    self.memo.insert(self.memo.len(), top);
                }
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,

                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Object::Global(module, name));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let global = Object::Global(self.text(module)?, self.text(name)?);
                    self.push(global);
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(storage);
                }
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    let result = self.call(callable, arguments)?;
                    self.values.push(result);
                }
                // The state of an object: a state dict has its version there, and hooks.
                b'b' => drop(self.pop()?),
                opcode => {
                    return Err(
                        format!("its pickle has the unsupported opcode {opcode:#04x}").into()
                    );
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.pickle[self.position..];
        let taken = rest.get(..length).ok_or("its pickle is truncated")?;
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes.
    fn length(&mut self, width: usize) -> Result<usize> {
        let mut number = [0; 8];
        number[..width].copy_from_slice(self.take(width)?);
        Ok(usize::try_from(u64::from_le_bytes(number))?)
    }

    fn integer(&mut self, width: usize) -> Result<()> {
        let value = i64::try_from(self.length(width)?)?;
        self.values.push(Value::Int(value));
        Ok(())
    }

    fn string(&mut self, width: usize) -> Result<()> {
        let length = self.length(width)?;
        let text = str::from_utf8(self.take(length)?)?;
        self.push(Object::Text(text));
        Ok(())
    }

    fn skip(&mut self, width: usize) -> Result<()> {
        let length = self.length(width)?;
        self.take(length)?;
        self.values.push(Value::Other);
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.pickle[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(length.ok_or("its pickle is truncated")?)?;
        self.position += 1;
        Ok(str::from_utf8(line)?)
    }

    fn push(&mut self, object: Object<'a>) {
        self.values.push(Value::Object(self.objects.len()));
        self.objects.push(object);
    }

    /// The height of the stack below which nothing may be taken: the innermost mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value> {
        let value = self.top()?;
        self.values.pop();
        Ok(value)
    }

    fn top(&self) -> Result<Value> {
        self.values[self.floor()..].last().copied().ok_or_else(damaged)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(damaged)?;
        Ok(self.values.split_off(mark))
    }

    /// Adds keys and values to the dict on top of the stack.
    fn insert(&mut self, items: &[Value]) -> Result<()> {
        let Value::Object(top) = self.top()? else { return Err(damaged()) };
        match &mut self.objects[top] {
            Object::Dict(entries) => {
                entries.extend(items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            Object::Instance => Ok(()),
            _ => Err(damaged()),
        }
    }

    fn remember(&mut self, width: usize) -> Result<()> {
        let slot = self.length(width)?;
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<()> {
        let slot = self.length(width)?;
        self.values.push(*self.memo.get(&slot).ok_or_else(damaged)?);
        Ok(())
    }

    fn object(&self, value: Value) -> Result<&Object<'a>> {
        match value {
            Value::Object(index) => Ok(&self.objects[index]),
            _ => Err(damaged()),
        }
    }

    fn text(&self, value: Value) -> Result<&'a str> {
        match self.object(value)? {
            Object::Text(text) => Ok(text),
            _ => Err(damaged()),
        }
    }

    fn tuple(&self, value: Value) -> Result<&[Value]> {
        match self.object(value)? {
            Object::Tuple(items) => Ok(items),
            _ => Err(damaged()),
        }
    }

    fn sizes(&self, value: Value) -> Result<Vec<usize>> {
        let items = self.tuple(value)?;
        // A memoized tuple may be fetched for every tensor: its length bounds what that costs.
        if items.len() > 8 {
            return Err("a tensor has more than 8 dimensions".into());
        }
        items.iter().map(|item| size(*item)).collect()
    }

    /// `('storage', type, name, device, number of elements)`
    fn storage(&self, id: Value) -> Result<Object<'a>> {
        let [tag, kind, name, _device, _elements] = self.tuple(id)? else {
            return Err(damaged());
        };
        let (Ok("storage"), Object::Global(_, kind)) = (self.text(*tag), self.object(*kind)?)
        else {
            return Err(damaged());
        };
        let dtype = match *kind {
            "FloatStorage" => Some(DType::F32),
            "DoubleStorage" => Some(DType::F64),
            "HalfStorage" => Some(DType::F16),
            "BFloat16Storage" => Some(DType::BF16),
            "LongStorage" => Some(DType::I64),
            "IntStorage" => Some(DType::I32),
            "ShortStorage" => Some(DType::I16),
            "CharStorage" => Some(DType::I8),
            "ByteStorage" => Some(DType::U8),
            _ => None,
        };
        Ok(Object::Storage(self.text(*name)?, dtype))
    }

    fn call(&mut self, callable: Value, arguments: Value) -> Result<Value> {
        let (module, name) = match self.object(callable)? {
            Object::Global(module, name) => (*module, *name),
            _ => return Err(damaged()),
        };
        let object = match (module, name) {
            ("collections", "OrderedDict") => match self.tuple(arguments)? {
                [] => Object::Dict(Vec::new()),
                _ => return Err("its state dict is written in an unknown way".into()),
            },
            ("torch._utils", "_rebuild_tensor_v2") => {
                let [storage, offset, shape, stride, ..] = *self.tuple(arguments)? else {
                    return Err(damaged());
                };
                let Object::Storage(storage, dtype) = *self.object(storage)? else {
                    return Err(damaged());
                };
                let (shape, stride) = (self.sizes(shape)?, self.sizes(stride)?);
                Object::Tensor(View { storage, dtype, offset: size(offset)?, shape, stride })
            }
            ("torch._utils", "_rebuild_parameter") => {
                return self.tuple(arguments)?.first().copied().ok_or_else(damaged);
            }
            _ => Object::Instance,
        };
        self.objects.push(object);
        Ok(Value::Object(self.objects.len() - 1))
    }
}

fn size(value: Value) -> Result<usize> {
    match value {
        Value::Int(value) => Ok(usize::try_from(value)?),
        _ => Err(damaged()),
    }
}

fn damaged() -> Cause {
    "its pickle is damaged".into()
}
